// Fields of forms, and forms that send themselves: errors in place, a second click harmless.
import { html, useId, useRef, useState } from "../html.js";

/** A labelled field. `control` draws it, given what ties it to its label, hint and errors. */
export function Field({ label, hint, errors, control }) {
  const id = useId();
  const [hintId, errorId] = [`${id}-hint`, `${id}-error`];
  const described = [hint && hintId, errors && errorId].filter(Boolean).join(" ");
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${control({ id, "aria-describedby": described || undefined, "aria-invalid": errors ? "true" : undefined })}
    ${hint && html`<p class="hint" id=${hintId}>${hint}</p>`}
    ${errors && html`<p class="error" id=${errorId}>${[errors].flat().join(" ")}</p>`}
  </div>`;
}

export function TextField({ label, hint, errors, ...input }) {
  const control = (ties) => html`<input type="text" ...${input} ...${ties} />`;
  return html`<${Field} label=${label} hint=${hint} errors=${errors} control=${control} />`;
}

/** `{path: {to: ["wrong"]}}` for a field of settings and the like: whatever is below, as one list of texts. */
export function textsOf(errors) {
  if (!errors) return undefined;
  if (typeof errors === "string") return [errors];
  const texts = Object.values(errors).flatMap(textsOf);
  return texts.length ? [...new Set(texts)] : undefined;
}

/**
 * Return what a form needs: `{submit, errors, words, isBusy, ref}`. `send(data)` gets the form's FormData. Errors of fields that
 * the form does not have (`fields` are those it has) are told above it.
 */
export function useForm(fields, send) {
  const [state, setState] = useState({ errors: {}, words: "" });
  const [isBusy, setBusy] = useState(false);
  const busy = useRef(false);
  const ref = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    if (busy.current) return;
    busy.current = true;
    setBusy(true);
    try {
      await send(new FormData(event.currentTarget));
      setState({ errors: {}, words: "" });
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      setState(toState(problem, fields));
      requestAnimationFrame(() => ref.current?.querySelector("[aria-invalid=true], .form-error")?.focus());
    } finally {
      busy.current = false;
      setBusy(false);
    }
  };
  return { submit, isBusy, ref, ...state };
}

const TAKEN = { "email-taken": "email", "username-taken": "username" };

function toState(problem, fields) {
  const errors = { ...problem.errors };
  if (problem.slug in TAKEN) errors[TAKEN[problem.slug]] = [problem.words];
  const others = Object.keys(errors).filter((name) => !fields.includes(name));
  const isInPlace = Object.keys(errors).length > others.length;
  const words = others.length ? textsOf(others.map((name) => errors[name])).join(" ") : isInPlace ? "" : problem.words;
  return { errors, words };
}

export const FormError = ({ words }) =>
  words ? html`<p class="form-error" role="alert" tabindex="-1">${words}</p>` : null;

/** A button that sends a form. While it does it stays where the focus is, and says so. */
export const Submit = ({ isBusy, children, ...rest }) =>
  html`<button class="primary" type="submit" aria-disabled=${isBusy ? "true" : undefined} ...${rest}>${children}</button>`;
