// What the owner is mailed when feedback comes, and whether mails come at all.
import { call, get } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { tell } from "../notices.js";
import { check, user } from "../session.js";
import { useBusy } from "./busy.js";
import { Choice } from "./choice.js";
import { FormError, Submit, textsOf, useForm } from "./field.js";

const PATH = "/api/users/notifications";
const MAILS = { off: "None", each: "One for each feedback", hourly: "One an hour", daily: "One a day, at 8 in the morning" };
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Say that the address is not verified yet, and what that means; nothing once it is. */
export function Unverified({ words }) {
  const [, run] = useBusy();
  const [sent, setSent] = useState(null);
  const { email, email_verified: isVerified } = user.value;
  const asked = sent?.email === email ? sent : null;
  const send = () =>
    run(async () => {
      try {
        await call("POST", "/api/auth/verify/resend");
        setSent({ email, words: `A link is on its way to ${email}.` });
      } catch (problem) {
        if (problem.status === 401) throw problem;
        setSent({ email, words: problem.words, isError: true });
      }
    });
  if (isVerified) return null;
  return html`<div class="unverified">
    <p>${words} <button type="button" class="link" onClick=${send}>Send the link again</button></p>
    <p role="status" class=${asked?.isError ? "error" : "hint"}>${asked?.words}</p>
  </div>`;
}

/** See whether it was verified meanwhile, in another tab: its link leads there. */
export function useVerification() {
  const isVerified = user.value.email_verified;
  useEffect(() => {
    if (isVerified) return undefined;
    const look = () => check().catch(() => {});
    look();
    addEventListener("focus", look);
    return () => removeEventListener("focus", look);
  }, [isVerified]);
}

/** Whoever has chosen nothing is given the zone of this device. */
const isUntouched = ({ mail, timezone }) => mail === "off" && timezone === "UTC";

function zonesWith(chosen) {
  const names = new Set(["UTC", HERE, chosen, ...Intl.supportedValuesOf("timeZone")]);
  return Object.fromEntries([...names].sort().map((name) => [name, name.replaceAll("_", " ")]));
}

function Form({ chosen }) {
  const [draft, setDraft] = useState(chosen);
  const form = useForm(["mail", "timezone"], async (data) => {
    setDraft(await call("PUT", PATH, Object.fromEntries(data)));
    tell("Saved.");
  });
  const set = ({ currentTarget: { name, value } }) => setDraft((before) => ({ ...before, [name]: value }));
  return html`<form ref=${form.ref} onSubmit=${form.submit}>
    <${FormError} words=${form.words} />
    <${Choice} label="Mails of new feedback" name="mail" value=${draft.mail} options=${MAILS} onChange=${set} errors=${textsOf(form.errors.mail)} />
    ${draft.mail !== "off" && html`<${Unverified} words="They do not come yet, as your address is not verified." />`}
    <${Choice} label="Time zone" name="timezone" value=${draft.timezone} options=${zonesWith(chosen.timezone)} onChange=${set}
      hint="Its clock says when an hour or a day is over." errors=${textsOf(form.errors.timezone)} />
    <${Submit} isBusy=${form.isBusy}>Save<//>
  </form>`;
}

export function Mails() {
  const [chosen, setChosen] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    get(PATH).then((found) => setChosen(isUntouched(found) ? { ...found, timezone: HERE } : found), setProblem);
  }, []);
  return html`<section class="card">
    <h2>By mail</h2>
    ${problem && html`<p class="error" role="status">${problem.words}</p>`}
    ${chosen && html`<${Form} chosen=${chosen} />`}
  </section>`;
}
