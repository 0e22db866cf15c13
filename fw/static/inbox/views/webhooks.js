// The owner's webhooks: a card each.
import { get } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { EVENTS, momentInWords, nameOf, setActive } from "../webhooks.js";
import { useBusy } from "./busy.js";
import { Wave } from "./marks.js";
import { Page } from "./page.js";

const BACK = { href: "/inbox/settings", name: "Settings" };
const LIMIT = 100;

/** Whether a webhook is sent anything, and how that goes. */
export function State({ webhook }) {
  const { is_active: isActive, disabled_reason: reason, failing_since: since } = webhook;
  if (!isActive) return html`<p class=${reason ? "state is-failed" : "state"}>Turned off. ${reason}</p>`;
  if (!since) return html`<p class="state is-well">On</p>`;
  return html`<p class="state is-failed">On, but failing since <time datetime=${since}>${momentInWords(since)}</time></p>`;
}

export function Switch({ webhook, change }) {
  const [isBusy, run] = useBusy();
  const turn = () =>
    run(async () => {
      const changed = await setActive(webhook, !webhook.is_active);
      if (changed) change(changed);
    });
  return html`<button type="button" onClick=${turn} aria-disabled=${isBusy ? "true" : undefined}>
    ${webhook.is_active ? "Turn off" : "Turn on"}<span class="hidden-words"> ${nameOf(webhook)}</span></button>`;
}

function Card({ webhook, change }) {
  const { id, url, events } = webhook;
  return html`<li class="card widget">
    <div>
      <h2><a href=${`/inbox/webhooks/${id}`} dir="auto">${nameOf(webhook)}</a></h2>
      <p class="address">${url}</p>
      <p>${events.map((event) => EVENTS[event] ?? event).join(" · ")}</p>
      <${State} webhook=${webhook} />
    </div>
    <div class="actions">
      <a class="button" href=${`/inbox/webhooks/${id}`}>Open<span class="hidden-words"> ${nameOf(webhook)}</span></a>
      <${Switch} webhook=${webhook} change=${change} />
    </div>
  </li>`;
}

const Make = ({ label }) => html`<a class="button primary" href="/inbox/webhooks/new">${label}</a>`;

function useWebhooks() {
  const [all, setAll] = useState(null);
  const [problem, setProblem] = useState(null);
  const read = () => {
    setProblem(null);
    get(`/api/webhooks?limit=${LIMIT}`).then(({ items }) => setAll(items), setProblem);
  };
  useEffect(read, []);
  const change = (changed) => setAll((before) => before.map((webhook) => (webhook.id === changed.id ? changed : webhook)));
  return { all, problem, read, change };
}

export function Webhooks() {
  const { all, problem, read, change } = useWebhooks();
  return html`<${Page} heading="Webhooks" back=${BACK} actions=${all?.length > 0 && html`<${Make} label="New webhook" />`}>
    ${problem && html`<div class="failed"><p role="alert">${problem.words}</p><button type="button" onClick=${read}>Try again</button></div>`}
    ${all?.length === 0 &&
    html`<div class="nothing">
      <${Wave} />
      <p>A webhook tells a program of yours what happens to your inbox, as soon as it happens.</p>
      <${Make} label="Make your first webhook" />
    </div>`}
    <ul class="widgets">
      ${(all ?? []).map((webhook) => html`<${Card} key=${webhook.id} webhook=${webhook} change=${change} />`)}
    </ul>
  <//>`;
}
