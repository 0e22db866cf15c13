// The real widget, with settings that are not stored yet.
import { html, useEffect, useState } from "../html.js";

const TYPING = 400;

/** A widget as the address of its demonstration has it: base64url of JSON. */
function packed({ type, theme, settings: { allowed_origins: _, ...settings } }) {
  const bytes = new TextEncoder().encode(JSON.stringify({ type, theme, settings }));
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export function Preview({ draft }) {
  const wanted = packed(draft);
  const [shown, setShown] = useState(wanted);
  useEffect(() => {
    const timer = setTimeout(() => setShown(wanted), TYPING);
    return () => clearTimeout(timer);
  }, [wanted]);
  // By its key each address gets a frame of its own: a frame that went from one to the next would fill the history.
  return html`<section class="preview" aria-label="Preview">
    <iframe key=${shown} class="preview-frame" title="The widget as visitors see it" src=${`/demo/${shown}/page`}></iframe>
    <p class="hint">This is the widget itself. What is sent here is not stored.</p>
  </section>`;
}
