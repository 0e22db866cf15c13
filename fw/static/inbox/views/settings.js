// The owner's account, and what tells of new feedback: mails, this browser, webhooks.
import { canNotify, isNotifying, isSounding, setNotifying, setSounding } from "../alerts.js";
import { call } from "../api.js";
import { html, useState } from "../html.js";
import { complain, tell } from "../notices.js";
import { end, signOutEverywhere, user } from "../session.js";
import { FormError, Submit, TextField, useForm } from "./field.js";
import { Mails, Unverified, useVerification } from "./mails.js";
import { Page } from "./page.js";

function Profile() {
  const { email, username, profile_image: image } = user.value;
  const [isOtherMail, setOtherMail] = useState(false);
  const form = useForm(["email", "username", "profile_image", "current_password"], async (data) => {
    const fields = { username: data.get("username").trim(), profile_image: data.get("profile_image").trim() || null };
    if (isOtherMail) Object.assign(fields, { email: data.get("email").trim(), current_password: data.get("current_password") });
    user.value = { ...user.value, ...(await call("PUT", "/api/users/profile", fields)) };
    setOtherMail(false);
    tell("Your profile is saved.");
  });
  return html`<section class="card">
    <h2>Profile</h2>
    <form ref=${form.ref} onSubmit=${form.submit}>
      <${FormError} words=${form.words} />
      <${TextField} label="Username" name="username" defaultValue=${username} autocapitalize="none" spellcheck=${false} required
        hint="With another name your public page has another address." errors=${form.errors.username} />
      <${TextField} label="E-mail" name="email" type="email" autocomplete="email" defaultValue=${email} required maxlength="320"
        onInput=${(event) => setOtherMail(event.currentTarget.value.trim() !== email)} errors=${form.errors.email} />
      <${Unverified} words="This address is not verified yet: look for our mail, and open its link." />
      ${isOtherMail &&
      html`<${TextField} label="Current password" name="current_password" type="password" autocomplete="current-password" required
        hint="Needed for another address." errors=${form.errors.current_password} />`}
      <${TextField} label="Picture" name="profile_image" type="url" maxlength="2000" defaultValue=${image ?? ""} placeholder="https://…"
        hint="The address of an image, with https." errors=${form.errors.profile_image} />
      <${Submit} isBusy=${form.isBusy}>Save<//>
    </form>
  </section>`;
}

function Password() {
  const form = useForm(["current_password", "new_password"], async (data) => {
    await call("POST", "/api/auth/password", Object.fromEntries(data));
    form.ref.current.reset();
    tell("The password is changed. All other sessions have ended.");
  });
  return html`<section class="card">
    <h2>Password</h2>
    <form ref=${form.ref} onSubmit=${form.submit}>
      <${FormError} words=${form.words} />
      <input type="text" autocomplete="username" value=${user.value.username} hidden readonly />
      <${TextField} label="Current password" name="current_password" type="password" autocomplete="current-password" required
        errors=${form.errors.current_password} />
      <${TextField} label="New password" name="new_password" type="password" autocomplete="new-password" required
        hint="At least 8 characters. All your other sessions end." errors=${form.errors.new_password} />
      <${Submit} isBusy=${form.isBusy}>Change the password<//>
    </form>
  </section>`;
}

function Alerts() {
  const notify = async ({ currentTarget: box }) => {
    const isAsWanted = await setNotifying(box.checked);
    box.checked = isNotifying.value;
    if (!isAsWanted) tell("Your browser does not allow notifications of this page.", { isError: true });
  };
  return html`<section class="card">
    <h2>In this browser</h2>
    <form>
      <label class="check"><input type="checkbox" checked=${isNotifying.value} disabled=${!canNotify()} onClick=${notify} />
        Show a notification when feedback comes</label>
      <p class="hint">${canNotify() ? "While this page is open, and you look at another." : "Your browser shows none here."}</p>
      <label class="check"><input type="checkbox" checked=${isSounding.value} onClick=${(event) => setSounding(event.currentTarget.checked)} />
        Play a sound when feedback comes</label>
    </form>
  </section>`;
}

const Webhooks = () => html`<section class="card">
  <h2>Webhooks</h2>
  <p>Have a program of yours told what happens to your inbox.</p>
  <p class="below"><a class="button" href="/inbox/webhooks">Open the webhooks</a></p>
</section>`;

function Sessions() {
  const [isBusy, setBusy] = useState(false);
  const leave = async () => {
    if (isBusy) return;
    setBusy(true);
    await signOutEverywhere().catch(complain);
    setBusy(false);
  };
  return html`<section class="card">
    <h2>Devices</h2>
    <p>End your sessions on all devices, this one included.</p>
    <p class="below"><button type="button" onClick=${leave}>Sign out everywhere</button></p>
  </section>`;
}

function Deletion() {
  const { username } = user.value;
  const [typed, setTyped] = useState("");
  const form = useForm(["current_password"], async (data) => {
    if (typed !== username) return;
    await call("DELETE", "/api/users/profile", { current_password: data.get("current_password") });
    end("Your account is deleted.");
  });
  return html`<section class="card">
    <h2>Delete the account</h2>
    <form ref=${form.ref} onSubmit=${form.submit}>
      <p>All feedback, widgets and statistics are deleted with it, at once and for good.</p>
      <${FormError} words=${form.words} />
      <${TextField} label=${`Type your username: ${username}`} name="typed" autocomplete="off" autocapitalize="none" spellcheck=${false}
        onInput=${(event) => setTyped(event.currentTarget.value)} />
      <${TextField} label="Current password" name="current_password" type="password" autocomplete="current-password" required
        errors=${form.errors.current_password} />
      <button type="submit" class="danger primary" disabled=${typed !== username} aria-disabled=${form.isBusy ? "true" : undefined}>
        Delete my account</button>
    </form>
  </section>`;
}

export function Settings() {
  useVerification();
  return html`<${Page} heading="Settings">
    <div class="stack settings"><${Profile} /><${Password} /><${Mails} /><${Alerts} /><${Webhooks} /><${Sessions} /><${Deletion} /></div>
  <//>`;
}
