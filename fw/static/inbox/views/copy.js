// A text to be copied by one click.
import { html, useRef, useState } from "../html.js";
import { announce } from "../notices.js";

async function copy(text, box) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no such clipboard: the text is selected, and copied the old way.
    getSelection().selectAllChildren(box);
    document.execCommand("copy");
  }
}

export function Copy({ text, label, children }) {
  const [isCopied, setCopied] = useState(false);
  const box = useRef(null);
  const click = async () => {
    await copy(text, box.current);
    setCopied(true);
    announce("Copied.");
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<div class="copy">
    <code ref=${box}>${text}</code>
    <div class="copy-actions">
      <button type="button" onClick=${click} aria-label=${`Copy ${label}`}>${isCopied ? "Copied" : "Copy"}</button>
      ${children}
    </div>
  </div>`;
}
