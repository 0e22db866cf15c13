// What was sent to a webhook, or is to be: newest first, how it went and why not, and sending it again.
import { call } from "../api.js";
import { html, useRef, useState } from "../html.js";
import { announce, tell } from "../notices.js";
import { momentInWords, outcomeOf } from "../webhooks.js";
import { counted } from "../words.js";
import { useBusy } from "./busy.js";
import { Dialog } from "./dialog.js";
import { FormError, Submit, TextField, textsOf, useForm } from "./field.js";
import { Time, now } from "./time.js";

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
/** How many one call queues at most. */
const MOST = 10_000;

const Busy = ({ isBusy, children, ...rest }) =>
  html`<button type="button" aria-disabled=${isBusy ? "true" : undefined} ...${rest}>${children}</button>`;

/** What happened: a link to the feedback, as long as there is some. */
function What({ item }) {
  const isThere = item.feedback_id && item.type !== "feedback.deleted";
  return html`<code>${isThere ? html`<a href=${`/inbox/feedback/${item.feedback_id}`}>${item.type}</a>` : item.type}</code>`;
}

function Row({ item, resend }) {
  const [isBusy, run] = useBusy();
  // The clock that all rows follow ticks seldom: what is drawn between two ticks is newer.
  const { kind, words, moment, reason } = outcomeOf(item, Math.max(now.value, Date.now()));
  const about = `${item.type} of ${momentInWords(item.created_at)}`;
  return html`<li class="delivery">
    <div>
      <p><${What} item=${item} /> <span class="quiet"><${Time} moment=${item.created_at} /></span></p>
      <p class=${`state is-${kind}`}>${words} ${moment && html`<${Time} moment=${moment} />`}
        ${item.attempts > 0 && html` <span class="quiet">· ${counted(item.attempts, "attempt")}</span>`}</p>
      ${reason && html`<p class="reason">${reason}</p>`}
    </div>
    ${resend && html`<${Busy} isBusy=${isBusy} onClick=${() => run(() => resend(item))} aria-label=${`Send again: ${about}`}>Send again<//>`}
  </li>`;
}

/** A moment as a field of date and time shows it: in the zone of this device, to the minute. */
const toField = (time) => new Date(time - new Date(time).getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);

/** When the failing began, as far as it is known; else a day ago. */
function beginningOf(webhook, items) {
  const failed = items.filter((item) => item.error && !item.delivered_at).map((item) => Date.parse(item.created_at));
  // It fails since the first attempt that did: what it was about happened before.
  if (webhook.failing_since) failed.push(Date.parse(webhook.failing_since) - HOUR);
  return failed.length ? Math.min(...failed) : Date.now() - DAY;
}

function Since({ webhook, items, reload, close }) {
  const form = useForm(["since"], async (data) => {
    const since = new Date(data.get("since")).toISOString();
    const { queued } = await call("POST", `/api/webhooks/${webhook.id}/resend`, { since });
    const rest = queued >= MOST ? " There may be more: resend what is left." : "";
    tell(queued ? `${counted(queued, "delivery", "deliveries")} on the way.${rest}` : "Nothing that can be sent again has failed since then.");
    close();
    reload();
  });
  const hint = "By the clock of this device. Tests, and what is about deleted feedback, are left out.";
  return html`<${Dialog} heading="Resend what failed" close=${close}>
    <form ref=${form.ref} onSubmit=${form.submit}>
      <${FormError} words=${form.words} />
      <${TextField} label="Since" name="since" type="datetime-local" required defaultValue=${toField(beginningOf(webhook, items))}
        hint=${hint} errors=${textsOf(form.errors.since)} />
      <div class="actions"><${Submit} isBusy=${form.isBusy}>Send again<//><button type="button" onClick=${close}>Cancel</button></div>
    </form>
  <//>`;
}

/** The end of the list: a button for what is older, and a word when there is nothing. */
function Rest({ next, more }) {
  const [isBusy, run] = useBusy();
  const end = useRef(null);
  const read = () =>
    run(async () => {
      await more();
      announce("Older deliveries are shown.");
      // The button may go: whoever pressed it stays at the end of the list.
      requestAnimationFrame(() => end.current?.focus());
    });
  if (next) return html`<p class="below"><${Busy} isBusy=${isBusy} onClick=${read}>Show older ones<//></p>`;
  return html`<p class="hint below" ref=${end} tabindex="-1">That is all of the last 30 days.</p>`;
}

export function Deliveries({ followed }) {
  const [isBusy, run] = useBusy();
  const [isAsked, setAsked] = useState(false);
  const [webhook, items] = [followed.webhook.value, followed.items.value];
  const path = `/api/webhooks/${webhook.id}`;
  const test = () =>
    run(async () => {
      await call("POST", `${path}/test`);
      tell("A test is on its way.");
      followed.reload();
    });
  const resend = async (item) => {
    await call("POST", `${path}/resend`, { delivery_id: item.id });
    tell("It is on its way again.");
    followed.reload();
  };
  return html`<section class="card deliveries">
    <div class="page-head">
      <h2>Deliveries</h2>
      <div class="actions">
        <${Busy} isBusy=${isBusy} onClick=${test}>Send a test<//>
        ${webhook.is_active && items.length > 0 && html`<button type="button" onClick=${() => setAsked(true)}>Resend failed…</button>`}
      </div>
    </div>
    ${!webhook.is_active && html`<p class="hint">While it is turned off, nothing is sent to it but tests.</p>`}
    ${items.length === 0
      ? html`<p class="quiet">Nothing has been sent yet. Send a test to see whether it arrives.</p>`
      : html`<ul>${items.map((item) => html`<${Row} key=${item.id} item=${item} resend=${webhook.is_active && resend} />`)}</ul>
          <${Rest} next=${followed.next.value} more=${followed.more} />`}
    ${isAsked && html`<${Since} webhook=${webhook} items=${items} reload=${followed.reload} close=${() => setAsked(false)} />`}
  </section>`;
}
