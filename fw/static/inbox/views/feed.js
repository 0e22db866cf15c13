// The list as it scrolls: of all its rows only those that are seen are in the document.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { active, list, more, setAtTop, showWaiting, visible, waiting } from "../list.js";
import { tryAgain } from "../sync.js";
import { counted } from "../words.js";
import { ROW, Row } from "./row.js";

const MARGIN = 6;
/** How many rows before the end the next page is read. */
const AHEAD = 60;

/** The places of the rows to draw: those in sight, some around, and the active one, which holds the focus. */
function places(top, height, total, activePlace) {
  const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
  const last = Math.min(total, Math.ceil((top + height) / ROW) + MARGIN);
  const found = Array.from({ length: Math.max(0, last - first) }, (_, place) => first + place);
  if (activePlace >= 0 && (activePlace < first || activePlace >= last)) found.push(activePlace);
  return found;
}

function useSight() {
  const scroller = useRef(null);
  const [sight, setSight] = useState({ top: 0, height: 800 });
  const look = () => {
    const { scrollTop, clientHeight } = scroller.current;
    setAtTop(scrollTop < ROW / 2);
    // Drawn again only when another row comes into sight.
    const top = Math.floor(scrollTop / ROW) * ROW;
    setSight((before) => (before.top === top && before.height === clientHeight ? before : { top, height: clientHeight }));
  };
  useLayoutEffect(() => {
    const observer = new ResizeObserver(look);
    observer.observe(scroller.current);
    return () => {
      observer.disconnect();
      setAtTop(true);
    };
  }, []);
  return { scroller, look, ...sight };
}

/** Scroll a row into sight, and give it the focus. */
export function focusRow(id) {
  const scroller = document.querySelector(".scroller");
  const place = visible.value.indexOf(id);
  if (!scroller || place < 0) return;
  active.value = id;
  const [top, bottom] = [place * ROW, (place + 1) * ROW];
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
  // The row is drawn with the next frame if it was not in sight.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      // Whoever has gone to the search meanwhile stays there.
      if (document.activeElement?.matches("input[type=search]")) return;
      scroller.querySelector(`[data-id="${id}"] a`)?.focus({ preventScroll: true });
    }),
  );
}

export function Feed({ hrefOf, openId, select, empty }) {
  const { scroller, look, top, height } = useSight();
  const { state, next, problem } = list.value;
  const ids = visible.value;
  const activePlace = active.value === null ? -1 : ids.indexOf(active.value);
  const drawn = places(top, height, ids.length, activePlace);
  const [end, isAtEnd] = [Math.ceil((top + height) / ROW), state === "ready" && next !== null];
  useEffect(() => {
    if (isAtEnd && end + AHEAD >= ids.length) more();
  });
  const showNew = () => {
    showWaiting();
    scroller.current.scrollTo({ top: 0 });
  };
  return html`<div class="feed">
    ${waiting.value.length > 0 &&
    html`<button type="button" class="newcomers" onClick=${showNew}>${counted(waiting.value.length, "new item")}</button>`}
    <div class="scroller" ref=${scroller} onScroll=${look} aria-busy=${state === "loading" || state === "more"}>
      ${state === "loading" && html`<div class="skeleton" aria-hidden="true">${Array.from({ length: 8 }, () => html`<div />`)}</div>`}
      ${ids.length > 0 &&
      html`<ul aria-label="Feedback" style=${{ height: `${ids.length * ROW}px` }}>
        ${drawn.map(
          (place) => html`<${Row} key=${ids[place]} id=${ids[place]} place=${place} total=${next === null ? ids.length : -1}
            href=${hrefOf(ids[place])} isOpen=${ids[place] === openId} select=${select}
            isTabbable=${place === (activePlace < 0 ? 0 : activePlace)} />`,
        )}
      </ul>`}
      ${state === "ready" && next === null && ids.length === 0 && empty}
      ${(state === "more" || isAtEnd) && html`<p class="feed-end">Looking further back…</p>`}
      ${state === "failed" &&
      html`<div class="failed" role="alert">
        <p>${problem.words}</p>
        <button type="button" onClick=${() => tryAgain()}>Try again</button>
      </div>`}
    </div>
  </div>`;
}
