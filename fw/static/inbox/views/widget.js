// One widget: its settings beside the widget itself as visitors see it, and the line that puts it on a site.
import { call } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { tell } from "../notices.js";
import { go } from "../router.js";
import { TYPES, findWidget, readWidgets, snippetOf, widgets } from "../widgets.js";
import { Choice } from "./choice.js";
import { Copy } from "./copy.js";
import { Field, FormError, Submit, TextField, textsOf, useForm } from "./field.js";
import { Page } from "./page.js";
import { Preview } from "./preview.js";
import { Seen, look } from "./widgets.js";

const THEMES = { light: "Light", dark: "Dark", auto: "As the visitor's device" };
const POSITIONS = { "bottom-right": "At the right", "bottom-left": "At the left" };
const LANGUAGES = ["en", "de", "es", "fr", "pt", "it", "nl", "ja", "zh", "ar"];
const LIMIT = { title: 200, placeholder: 200, submit_label: 200, thank_you: 200 };
const LOOK_AGAIN = 10_000;
const COLOR = "#0f766e";

/** The API's fields of what is typed; settings that are empty are left out. */
function toFields(data) {
  const settings = {};
  for (const name of [...Object.keys(LIMIT), "position", "locale"]) {
    const text = data.get(name)?.trim();
    if (text) settings[name] = text;
  }
  if (data.get("has_color")) settings.color = data.get("color");
  const origins = (data.get("allowed_origins") ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
  if (origins.length) settings.allowed_origins = origins;
  const [name, type, theme] = ["name", "type", "theme"].map((field) => data.get(field));
  return { name, type, theme, settings, is_active: data.get("is_active") !== null };
}

function Color({ value, errors }) {
  const [isOwn, setOwn] = useState(Boolean(value));
  const control = (ties) => html`<div class="color">
    <input type="color" name="color" defaultValue=${value ?? COLOR} onInput=${() => setOwn(true)} ...${ties} />
    <label class="check"><input type="checkbox" name="has_color" checked=${isOwn} onChange=${(event) => setOwn(event.currentTarget.checked)} />
      An own colour</label>
  </div>`;
  return html`<${Field} label="Colour" errors=${errors} control=${control} />`;
}

function Origins({ value, errors }) {
  const control = (ties) =>
    html`<textarea name="allowed_origins" rows="3" spellcheck=${false} defaultValue=${(value ?? []).join("\n")} placeholder="https://example.com" ...${ties} />`;
  return html`<${Field} label="Sites that may show it" hint="One a line, at most 20. Empty: any site." errors=${errors} control=${control} />`;
}

function Texts({ settings, errors, type }) {
  const text = (name, label) =>
    html`<${TextField} label=${label} name=${name} dir="auto" defaultValue=${settings[name] ?? ""} maxlength=${LIMIT[name]} errors=${textsOf(errors[name])} />`;
  return html`<fieldset>
    <legend>Texts <span class="hint">(empty: ours, in the visitor's language)</span></legend>
    ${text("title", "Title")} ${text("placeholder", type === "rating" || type === "nps" ? "Hint in the field for words" : "Hint in the field")}
    ${text("submit_label", "Button")} ${text("thank_you", "Thanks")}
    <${TextField} label="Language" name="locale" list="languages" maxlength="100" defaultValue=${settings.locale ?? ""}
      hint="A tag such as de or pt-BR. Empty: that of the page." errors=${textsOf(errors.locale)} />
    <datalist id="languages">${LANGUAGES.map((tag) => html`<option value=${tag} />`)}</datalist>
  </fieldset>`;
}

const FIELDS = ["name", "type", "theme", "settings", "is_active"];
const NEW = { name: "", type: "button", theme: "auto", settings: {}, is_active: true };

function Form({ widget = NEW, save, label }) {
  const [draft, setDraft] = useState(widget);
  const form = useForm(FIELDS, async (data) => save(toFields(data)));
  const errors = form.errors.settings ?? {};
  const { settings } = widget;
  const redraw = (event) => setDraft(toFields(new FormData(event.currentTarget)));
  return html`<div class="editor">
    <form ref=${form.ref} onSubmit=${form.submit} onInput=${redraw} onChange=${redraw}>
      <${FormError} words=${form.words} />
      <${TextField} label="Name" name="name" dir="auto" defaultValue=${widget.name} required maxlength="100"
        hint="Only you see it." errors=${textsOf(form.errors.name)} />
      <${Choice} label="Kind" name="type" value=${draft.type} options=${TYPES} errors=${textsOf(form.errors.type)} />
      <div class="row-of">
        <${Choice} label="Theme" name="theme" value=${draft.theme} options=${THEMES} errors=${textsOf(form.errors.theme)} />
        <${Color} value=${settings.color} errors=${textsOf(errors.color)} />
      </div>
      ${draft.type === "button" &&
      html`<${Choice} label="Place" name="position" value=${draft.settings.position ?? settings.position ?? "bottom-right"} options=${POSITIONS} errors=${textsOf(errors.position)} />`}
      <${Texts} settings=${settings} errors=${errors} type=${draft.type} />
      <${Origins} value=${settings.allowed_origins} errors=${textsOf(errors.allowed_origins)} />
      <label class="check"><input type="checkbox" name="is_active" defaultChecked=${widget.is_active} /> Active: sites show it</label>
      <${Submit} isBusy=${form.isBusy}>${label}<//>
    </form>
    <${Preview} draft=${draft} />
  </div>`;
}

const BACK = { href: "/inbox/widgets", name: "Widgets" };

export function NewWidget() {
  const save = async (fields) => {
    const made = await call("POST", "/api/widgets", fields);
    widgets.value = [made, ...(widgets.value ?? [])];
    tell("The widget is made.");
    go(`/inbox/widgets/${made.id}`, { replace: true });
  };
  return html`<${Page} heading="New widget" back=${BACK}><${Form} save=${save} label="Make the widget" /><//>`;
}

/** Look again as long as the owner waits for the first view. */
function useLooking(id) {
  useEffect(() => {
    const again = () => document.hidden || look(id).catch(() => {});
    again();
    const timer = setInterval(again, LOOK_AGAIN);
    return () => clearInterval(timer);
  }, [id]);
}

function Snippet({ widget }) {
  useLooking(widget.id);
  return html`<section class="card stack">
    <div>
      <h2>On your site</h2>
      <p class="hint">Paste this line where the widget is to be, or before the end of the page.</p>
    </div>
    <${Copy} text=${snippetOf(widget.id)} label="the snippet" />
    <${Seen} id=${widget.id} />
  </section>`;
}

export function EditWidget({ id }) {
  const [problem, setProblem] = useState(null);
  const widget = findWidget(id);
  useEffect(() => {
    if (!widget) readWidgets().catch(setProblem);
  }, [id]);
  if (!widget) {
    const words = problem ? problem.words : widgets.value && "There is no such widget.";
    return html`<${Page} heading="Widget" back=${BACK}><p role="status">${words}</p><//>`;
  }
  const save = async (fields) => {
    const changed = await call("PUT", `/api/widgets/${id}`, fields);
    widgets.value = widgets.value.map((other) => (other.id === id ? changed : other));
    tell("Saved. Sites show it within a minute.");
  };
  const statistics = html`<a class="button" href=${`/inbox/widgets/${id}/statistics`}>Statistics</a>`;
  return html`<${Page} heading=${widget.name} back=${BACK} actions=${statistics}>
    <div class="stack">
      <${Snippet} widget=${widget} />
      <${Form} widget=${widget} save=${save} label="Save" />
    </div>
  <//>`;
}
