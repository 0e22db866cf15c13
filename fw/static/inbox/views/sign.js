// Signing in and signing up.
import { html, useEffect } from "../html.js";
import { farewell, open } from "../session.js";
import { FormError, Submit, TextField, useForm } from "./field.js";
import { Logo, Wave } from "./marks.js";
import { useArrival } from "./page.js";

function Sheet({ heading, children }) {
  const title = useArrival();
  useEffect(() => {
    // Whoever comes to type can do so at once; on a phone the keyboard would cover half of what is to be read.
    if (matchMedia("(hover: hover)").matches) title.current.parentElement.querySelector("input")?.focus();
  }, []);
  return html`<main class="sign-page" id="main" tabindex="-1">
    <p class="brand"><${Logo} /><span>FeedbackWave</span></p>
    <div class="card sign-card">
      <h1 ref=${title} tabindex="-1">${heading}</h1>
      ${children}
    </div>
    <${Wave} />
  </main>`;
}

export function SignIn() {
  const form = useForm(["login", "password"], (data) =>
    open("/api/auth/login", { login: data.get("login").trim(), password: data.get("password") }),
  );
  return html`<${Sheet} heading="Sign in">
    ${farewell.value && !form.words && html`<p class="farewell" role="status">${farewell.value}</p>`}
    <form ref=${form.ref} onSubmit=${form.submit}>
      <${FormError} words=${form.words} />
      <${TextField} label="Username or e-mail" name="login" autocomplete="username" autocapitalize="none" spellcheck=${false}
        required maxlength="320" errors=${form.errors.login} />
      <${TextField} label="Password" name="password" type="password" autocomplete="current-password" required
        errors=${form.errors.password} />
      <${Submit} isBusy=${form.isBusy}>${form.isBusy ? "Signing in…" : "Sign in"}<//>
    </form>
    <p class="beside"><a href="/forgot">Forgotten your password?</a> <span>New here? <a href="/inbox/signup">Sign up</a></span></p>
  <//>`;
}

export function SignUp() {
  const form = useForm(["email", "username", "password"], (data) =>
    open("/api/auth/register", {
      email: data.get("email").trim(),
      username: data.get("username").trim(),
      password: data.get("password"),
    }),
  );
  return html`<${Sheet} heading="Sign up">
    <form ref=${form.ref} onSubmit=${form.submit}>
      <${FormError} words=${form.words} />
      <${TextField} label="E-mail" name="email" type="email" autocomplete="email" required maxlength="320"
        errors=${form.errors.email} />
      <${TextField} label="Username" name="username" autocomplete="username" autocapitalize="none" spellcheck=${false} required
        hint="3 to 30 letters, digits, _ or -. It is a part of your public address." errors=${form.errors.username} />
      <${TextField} label="Password" name="password" type="password" autocomplete="new-password" required
        hint="At least 8 characters." errors=${form.errors.password} />
      <${Submit} isBusy=${form.isBusy}>${form.isBusy ? "Signing up…" : "Sign up"}<//>
    </form>
    <p class="beside"><span>Have an account? <a href="/inbox/signin">Sign in</a></span></p>
  <//>`;
}
