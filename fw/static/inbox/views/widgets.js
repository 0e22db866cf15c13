// The owner's widgets: a card each.
import { call, get, withQuery } from "../api.js";
import { html, signal, useEffect, useState } from "../html.js";
import { complain, tell } from "../notices.js";
import { TYPES, readWidgets, widgets } from "../widgets.js";
import { dayInWords } from "../words.js";
import { Dialog } from "./dialog.js";
import { Wave } from "./marks.js";
import { Page } from "./page.js";

/** By widget, its first day with a view in what statistics show, `""` if there is none. */
const seen = signal({});

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Find out whether a widget was seen on a site. */
export async function look(id) {
  const stats = await get(withQuery(`/api/widgets/${id}/stats`, { tz: zone }));
  const first = stats.daily.find((day) => day.views > 0)?.date ?? "";
  const words = first === stats.from ? `for ${stats.daily.length} days or longer` : `since ${first && dayInWords(first)}`;
  seen.value = { ...seen.value, [id]: first && words };
}

export function Seen({ id }) {
  const since = seen.value[id];
  if (since === undefined) return html`<p class="seen">Looking whether it was seen…</p>`;
  return html`<p class=${since ? "seen is-seen" : "seen"}>${since ? `Seen on your site ${since}` : "Not seen on your site yet"}</p>`;
}

function Deletion({ widget, close }) {
  const [isBusy, setBusy] = useState(false);
  const erase = async () => {
    if (isBusy) return;
    setBusy(true);
    try {
      await call("DELETE", `/api/widgets/${widget.id}`);
      widgets.value = widgets.value.filter((other) => other.id !== widget.id);
      tell("The widget is deleted.");
    } catch (problem) {
      complain(problem);
    }
    close();
  };
  return html`<${Dialog} heading="Delete this widget?" close=${close}>
    <p>“<span dir="auto">${widget.name}</span>” disappears from every site that shows it. The feedback that came through it stays.</p>
    <div class="actions">
      <button type="button" class="danger primary" onClick=${erase}>Delete</button>
      <button type="button" onClick=${close}>Keep it</button>
    </div>
  <//>`;
}

async function setActive(widget, isActive) {
  try {
    const changed = await call("PUT", `/api/widgets/${widget.id}`, { is_active: isActive });
    widgets.value = widgets.value.map((other) => (other.id === changed.id ? changed : other));
    tell(isActive ? "The widget is active." : "The widget is switched off: sites show nothing in its place.");
  } catch (problem) {
    complain(problem);
  }
}

function Card({ widget, erase }) {
  const address = `/inbox/widgets/${widget.id}`;
  return html`<li class="card widget">
    <div>
      <h2><a href=${address} dir="auto">${widget.name}</a></h2>
      <p>${TYPES[widget.type]}${widget.is_active ? "" : " · switched off"}</p>
      <${Seen} id=${widget.id} />
    </div>
    <div class="actions">
      <a class="button" href=${`${address}/statistics`}>Statistics</a>
      <a class="button" href=${address}>Edit</a>
      <button type="button" onClick=${() => setActive(widget, !widget.is_active)}>
        ${widget.is_active ? "Switch off" : "Switch on"}</button>
      <button type="button" class="plain danger" onClick=${erase} aria-label=${`Delete ${widget.name}`}>Delete</button>
    </div>
  </li>`;
}

/** Look at one after the other, so that many widgets are no burden. */
function useSeen() {
  useEffect(() => {
    let isHere = true;
    readWidgets()
      .then(async () => {
        for (const { id } of widgets.value) if (isHere) await look(id);
      })
      .catch((problem) => isHere && complain(problem));
    return () => (isHere = false);
  }, []);
}

const Make = ({ label }) => html`<a class="button primary" href="/inbox/widgets/new">${label}</a>`;

export function Widgets() {
  const [erased, setErased] = useState(null);
  useSeen();
  const all = widgets.value;
  return html`<${Page} heading="Widgets" actions=${all?.length > 0 && html`<${Make} label="New widget" />`}>
    ${all?.length === 0 &&
    html`<div class="nothing">
      <${Wave} />
      <p>A widget asks the visitors of your site what they think: a button, a form, a popup or a rating.</p>
      <${Make} label="Make your first widget" />
    </div>`}
    <ul class="widgets">
      ${(all ?? []).map((widget) => html`<${Card} key=${widget.id} widget=${widget} erase=${() => setErased(widget)} />`)}
    </ul>
    ${erased && html`<${Deletion} widget=${erased} close=${() => setErased(null)} />`}
  <//>`;
}
