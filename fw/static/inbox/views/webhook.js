// One webhook: its settings, its secret while that is new, and beside them what was sent to it.
import { call } from "../api.js";
import { followWebhook } from "../deliveries.js";
import { html, useEffect, useId, useMemo, useRef, useState } from "../html.js";
import { tell } from "../notices.js";
import { go } from "../router.js";
import { EVENTS, fresh, nameOf } from "../webhooks.js";
import { useBusy } from "./busy.js";
import { Copy } from "./copy.js";
import { Deliveries } from "./deliveries.js";
import { Dialog } from "./dialog.js";
import { FormError, Submit, TextField, textsOf, useForm } from "./field.js";
import { Page } from "./page.js";
import { State, Switch } from "./webhooks.js";

const BACK = { href: "/inbox/webhooks", name: "Webhooks" };
const FIELDS = ["url", "events", "description"];
const NEW = { url: "", events: ["feedback.created"], description: null };

const toFields = (data) => ({
  url: data.get("url").trim(),
  events: data.getAll("events"),
  description: data.get("description").trim() || null,
});

function Events({ chosen, errors }) {
  const errorId = useId();
  // Nothing else can be wrong with a choice of these.
  const ties = errors ? { "aria-invalid": "true", "aria-describedby": errorId } : {};
  return html`<fieldset class="events">
    <legend>It is told when</legend>
    ${Object.entries(EVENTS).map(
      ([event, words]) => html`<label class="check">
        <input type="checkbox" name="events" value=${event} defaultChecked=${chosen.includes(event)} ...${ties} />
        <span>${words} <code>${event}</code></span>
      </label>`,
    )}
    ${errors && html`<p class="error" id=${errorId}>Choose at least one.</p>`}
  </fieldset>`;
}

function Form({ webhook = NEW, save, label }) {
  const form = useForm(FIELDS, (data) => save(toFields(data)));
  return html`<form ref=${form.ref} onSubmit=${form.submit}>
    <${FormError} words=${form.words} />
    <${TextField} label="Address" name="url" inputmode="url" autocapitalize="none" autocomplete="off" spellcheck=${false} required
      maxlength="2000" defaultValue=${webhook.url} placeholder="https://example.com/hook" hint="Where it is sent to, with https."
      errors=${textsOf(form.errors.url)} />
    <${Events} chosen=${webhook.events} errors=${textsOf(form.errors.events)} />
    <${TextField} label="Description" name="description" dir="auto" maxlength="200" defaultValue=${webhook.description ?? ""}
      hint="Only you see it." errors=${textsOf(form.errors.description)} />
    <${Submit} isBusy=${form.isBusy}>${label}<//>
  </form>`;
}

export function NewWebhook() {
  const save = async (fields) => {
    const { id, secret } = await call("POST", "/api/webhooks", fields);
    fresh.value = { id, secret };
    tell("The webhook is made.");
    go(`/inbox/webhooks/${id}`, { replace: true });
  };
  return html`<${Page} heading="New webhook" back=${BACK}>
    <div class="card narrow"><${Form} save=${save} label="Make the webhook" /></div>
  <//>`;
}

/** The secret that has just been made. Whoever made it begins here, and goes on to the button that copies it. */
function Secret({ secret, isReplaced }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus(), [secret]);
  const hide = () => {
    fresh.value = null;
    document.getElementById("main").focus();
  };
  return html`<section class="card stack secret">
    <div>
      <h2 ref=${heading} tabindex="-1">The ${isReplaced ? "new " : ""}secret</h2>
      <p>Keep it where your program reads it: it is shown now, and not again.
        ${isReplaced && " For 24 hours the secret before signs too."}</p>
    </div>
    <${Copy} text=${secret} label="the secret"><button type="button" class="plain" onClick=${hide}>I have kept it</button><//>
  </section>`;
}

/** A question before something that cannot be undone. */
function Question({ heading, words, yes, no, act, close }) {
  const [isBusy, run] = useBusy();
  const agree = () => run(() => act().finally(close));
  return html`<${Dialog} heading=${heading} close=${close}>
    <p>${words}</p>
    <div class="actions">
      <button type="button" class="danger primary" onClick=${agree} aria-disabled=${isBusy ? "true" : undefined}>${yes}</button>
      <button type="button" onClick=${close}>${no}</button>
    </div>
  <//>`;
}

function NewSecret({ id, close }) {
  const act = async () => {
    const { secret } = await call("POST", `/api/webhooks/${id}/secret`);
    fresh.value = { id, secret, isReplaced: true };
  };
  const words =
    "For 24 hours both it and the one of now sign what is sent, so that nothing is lost while you replace it. One that is older than these is no longer good.";
  return html`<${Question} heading="Make a new secret?" words=${words} yes="Make a new one" no="Leave it" act=${act} close=${close} />`;
}

function Deletion({ webhook, close }) {
  const act = async () => {
    await call("DELETE", `/api/webhooks/${webhook.id}`);
    tell("The webhook is deleted.");
    go(BACK.href, { replace: true });
  };
  const words = "Nothing is sent to it any more, and the list of what was sent is deleted with it.";
  return html`<${Question} heading="Delete this webhook?" words=${words} yes="Delete" no="Keep it" act=${act} close=${close} />`;
}

function Settings({ webhook, change }) {
  const [asked, setAsked] = useState(null);
  const close = () => setAsked(null);
  const save = async (fields) => {
    change(await call("PUT", `/api/webhooks/${webhook.id}`, fields));
    tell("The webhook is saved.");
  };
  return html`<section class="card">
    <h2>Settings</h2>
    <${Form} webhook=${webhook} save=${save} label="Save" />
    <div class="actions below">
      <button type="button" onClick=${() => setAsked("secret")}>New secret</button>
      <button type="button" class="plain danger" onClick=${() => setAsked("deletion")}>Delete</button>
    </div>
    ${asked === "secret" && html`<${NewSecret} id=${webhook.id} close=${close} />`}
    ${asked === "deletion" && html`<${Deletion} webhook=${webhook} close=${close} />`}
  </section>`;
}

function useFollowed(id) {
  const followed = useMemo(() => followWebhook(id), [id]);
  useEffect(() => {
    followed.start();
    return followed.stop;
  }, [followed]);
  useEffect(() => () => (fresh.value = null), [id]);
  return followed;
}

export function EditWebhook({ id }) {
  const followed = useFollowed(id);
  const [webhook, problem] = [followed.webhook.value, followed.problem.value];
  if (!webhook) {
    const words = webhook === null ? "There is no such webhook." : problem?.words;
    return html`<${Page} heading="Webhook" back=${BACK}>
      <p role="status">${words}</p>
      ${webhook === undefined && problem && html`<p class="below"><button type="button" onClick=${followed.reload}>Try again</button></p>`}
    <//>`;
  }
  const change = (changed) => {
    followed.webhook.value = changed;
    followed.reload();
  };
  const secret = fresh.value?.id === id && fresh.value;
  return html`<${Page} heading=${nameOf(webhook)} back=${BACK} actions=${html`<${Switch} webhook=${webhook} change=${change} />`}>
    <div class="stack">
      <${State} webhook=${webhook} />
      ${secret && html`<${Secret} ...${secret} />`}
      <div class="webhook">
        <${Settings} webhook=${webhook} change=${change} />
        <${Deliveries} followed=${followed} />
      </div>
    </div>
  <//>`;
}
