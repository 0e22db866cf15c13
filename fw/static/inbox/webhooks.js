// The owner's webhooks and what was sent to them, in words.
import { call } from "./api.js";
import { signal } from "./html.js";
import { complain, tell } from "./notices.js";
import { counted, duration } from "./words.js";

/** What a webhook may be told. */
export const EVENTS = {
  "feedback.created": "Feedback arrives",
  "feedback.updated": "Feedback changes, or is read",
  "feedback.deleted": "Feedback is deleted",
};

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const momentInWords = (moment) => MOMENT.format(new Date(moment));

/** `{id, secret}` of the webhook whose secret has just been made: it is shown until the page is left, and then never again. */
export const fresh = signal(null);

/** What a webhook is called: as its owner says, else by the host of its address. */
export const nameOf = ({ description, url }) => description || /^[^:]+:\/\/([^/?]+)/.exec(url)[1];

/** Turn a webhook on or off, and return it; null if that went wrong. */
export async function setActive(webhook, isActive) {
  try {
    const changed = await call("PUT", `/api/webhooks/${webhook.id}`, { is_active: isActive });
    tell(isActive ? "The webhook is turned on." : "The webhook is turned off. What waited is not sent.");
    return changed;
  } catch (problem) {
    complain(problem);
    return null;
  }
}

/** The server's reasons are parts of sentences. */
const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

/** How a delivery stands: `{kind, words, moment, reason}`; `kind` is well, waiting or failed, and `moment` stands after the words. */
export function outcomeOf({ attempts, delivered_at: delivered, next_attempt_at: next, error }, now = Date.now()) {
  const reason = error ? sentence(error) : "";
  if (delivered) return { kind: "well", words: "Delivered", moment: delivered, reason };
  if (next) {
    const seconds = (new Date(next) - now) / 1000;
    const words = seconds > 1 && attempts ? `Next attempt in ${duration(seconds)}` : "About to be sent";
    return { kind: "waiting", words, moment: null, reason };
  }
  return { kind: "failed", words: attempts ? "Given up" : "Not sent", moment: null, reason };
}

/** What has come of several attempts, to be heard. */
export function outcomesInWords(items) {
  if (items.length > 1) return `${counted(items.length, "delivery", "deliveries")} tried.`;
  const { words, reason } = outcomeOf(items[0]);
  return `${items[0].type}: ${words}. ${reason}`;
}
