// A view of its own: a heading, which has the focus on arrival, and what is below.
import { html, useEffect, useRef } from "../html.js";

let isFirst = true;

/** Return the ref of a view's heading: whoever comes to another view begins there. The first begins where the browser does. */
export function useArrival() {
  const heading = useRef(null);
  useEffect(() => {
    if (!isFirst) heading.current?.focus({ preventScroll: true });
    isFirst = false;
  }, []);
  return heading;
}

export function Page({ heading, actions, children, back }) {
  const ref = useArrival();
  return html`<main class="page" id="main" tabindex="-1">
    ${back && html`<p class="way-back"><a href=${back.href}>${back.name}</a></p>`}
    <div class="page-head"><h1 ref=${ref} tabindex="-1" dir="auto">${heading}</h1>${actions}</div>
    ${children}
  </main>`;
}
