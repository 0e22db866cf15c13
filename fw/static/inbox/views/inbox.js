// The inbox: the list, and beside it the opened item.
import { mark, remove, undo } from "../changes.js";
import { addressOf, isFiltered, readFilters } from "../filters.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { onKeys } from "../keyboard.js";
import { active, list, selected, visible } from "../list.js";
import { go, route } from "../router.js";
import { shown } from "../store.js";
import { ensureList } from "../sync.js";
import { FilterBar, SelectionBar } from "./bars.js";
import { Feed, focusRow } from "./feed.js";
import { Help } from "./help.js";
import { Item } from "./item.js";
import { useArrival } from "./page.js";
import { NothingFound, NothingOpen, Welcome } from "./welcome.js";

const ITEM = /^\/inbox\/feedback\/([0-9a-f-]{36})$/;

/** What Enter presses by itself. */
const PRESSED = "a, button, input, select";

const openedId = () => ITEM.exec(route.value.path)?.[1] ?? null;
const hrefOf = (id) => `/inbox/feedback/${id}${route.value.query}`;
const closed = () => `/inbox${route.value.query}`;

function changeFilters(fields, isTyped = false) {
  const filters = { ...readFilters(route.value.query), ...fields };
  go(addressOf(isTyped ? route.value.path : "/inbox", filters), { replace: isTyped });
}

/** Select or not; with `isRange` all from the last one that was selected. */
function useSelection() {
  const anchor = useRef(null);
  return (id, isRange = false) => {
    const ids = visible.value;
    const [from, to] = [ids.indexOf(anchor.current), ids.indexOf(id)];
    const range = isRange && from >= 0 ? ids.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    const chosen = new Set(selected.value);
    const isChosen = range.length > 1 || !chosen.has(id);
    for (const one of range) chosen[isChosen ? "add" : "delete"](one);
    anchor.current = active.value = id;
    selected.value = chosen;
  };
}

/** What a key is about: what is selected, else what is opened or active. */
function meant() {
  if (selected.value.size) return [...selected.value];
  const id = openedId() ?? active.value;
  return id ? [id] : [];
}

function move(step) {
  const ids = visible.value;
  const place = ids.indexOf(openedId() ?? active.value);
  const next = place < 0 ? ids[0] : ids[Math.min(ids.length - 1, Math.max(0, place + step))];
  if (next === undefined) return;
  if (openedId()) {
    active.value = next;
    go(hrefOf(next), { replace: true });
  } else focusRow(next);
}

function toggleRead() {
  const ids = meant();
  if (ids.length) mark(ids, ids.some((id) => !shown(id)?.is_read));
}

function close() {
  const id = openedId();
  go(closed());
  if (id) requestAnimationFrame(() => focusRow(id));
}

/** Delete items, and go on in the list where the reader was. */
function erase(ids) {
  if (!ids.length) return;
  remove(ids);
  if (ids.includes(openedId())) go(closed());
  requestAnimationFrame(() => active.value && focusRow(active.value));
}

function escape({ target }) {
  if (target.matches?.("input[type=search]") && target.value === "") target.blur();
  else if (target.matches?.("input, select")) return false;
  else if (selected.value.size) selected.value = new Set();
  else if (openedId()) close();
  return true;
}

const isInList = ({ target }) => target === document.body || target.closest?.(".scroller") !== null;
const arrow = (step) => (event) => (isInList(event) ? move(step) : false);

function useKeys(select, setHelp) {
  useEffect(() =>
    onKeys({
      j: () => move(1),
      k: () => move(-1),
      ArrowDown: arrow(1),
      ArrowUp: arrow(-1),
      Enter: ({ target }) => (active.value && !target.closest?.(PRESSED) ? go(hrefOf(active.value)) : false),
      u: toggleRead,
      "#": () => erase(meant()),
      z: () => undo(),
      x: () => active.value && select(active.value),
      X: () => active.value && select(active.value, true),
      "/": () => document.querySelector("input[type=search]")?.focus(),
      "?": () => setHelp(true),
      Escape: escape,
    }),
  );
}

export function Inbox() {
  const [isHelp, setHelp] = useState(false);
  const heading = useArrival();
  const select = useSelection();
  const id = openedId();
  const filters = readFilters(route.value.query);
  const question = JSON.stringify(filters);
  useKeys(select, setHelp);
  useEffect(() => {
    ensureList();
  }, [question]);
  useEffect(() => {
    if (id) active.value = id;
  }, [id]);
  const isFresh = list.value.state === "ready" && visible.value.length === 0 && !isFiltered(filters) && list.value.next === null;
  const empty = isFiltered(filters)
    ? html`<${NothingFound} showAll=${() => go("/inbox")} />`
    : html`<${Welcome} />`;
  return html`<main class=${`inbox${id ? " has-open" : ""}${isFresh ? " is-fresh" : ""}`} id="main" tabindex="-1">
    <section class="list-pane" aria-labelledby="inbox-heading">
      <h1 class="hidden-words" id="inbox-heading" ref=${heading} tabindex="-1">Inbox</h1>
      ${selected.value.size ? html`<${SelectionBar} erase=${erase} />` : html`<${FilterBar} filters=${filters} change=${changeFilters} />`}
      <${Feed} hrefOf=${hrefOf} openId=${id} select=${select} empty=${empty} />
    </section>
    <section class="item-pane" aria-label="Opened feedback">
      ${id ? html`<${Item} key=${id} id=${id} close=${close} erase=${() => erase([id])} />` : html`<${NothingOpen} help=${() => setHelp(true)} />`}
    </section>
    ${isHelp && html`<${Help} close=${() => setHelp(false)} />`}
  </main>`;
}
