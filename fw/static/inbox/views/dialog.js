// A dialog: the browser keeps the focus in it, and gives it back.
import { html, useEffect, useId, useRef } from "../html.js";

export function Dialog({ heading, close, children }) {
  const [box, id] = [useRef(null), useId()];
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus?.();
  }, []);
  const clickBeside = (event) => event.target === box.current && close();
  return html`<dialog ref=${box} class="card" aria-labelledby=${id} onClose=${close} onClick=${clickBeside}>
    <div class="dialog-body">
      <h2 id=${id}>${heading}</h2>
      ${children}
    </div>
  </dialog>`;
}
