// A field that is a choice of a few values.
import { html } from "../html.js";
import { Field } from "./field.js";

const Options = ({ options }) => Object.entries(options).map(([value, words]) => html`<option value=${value}>${words}</option>`);

/** `options` are the words of each value. */
export function Choice({ label, hint, errors, options, ...select }) {
  const control = (ties) => html`<select ...${select} ...${ties}><${Options} options=${options} /></select>`;
  return html`<${Field} label=${label} hint=${hint} errors=${errors} control=${control} />`;
}
