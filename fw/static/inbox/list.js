// The list that is shown: pages by keyset, and what comes in between.
import { get, withQuery } from "./api.js";
import { countSoon } from "./count.js";
import { matches, parameters } from "./filters.js";
import { batch, computed, signal } from "./html.js";
import { everything, isHidden, stored, takeCount, takeListed } from "./store.js";

const PAGE = 100;
const PATIENCE = 3;

/** `state`: loading (nothing to show yet), ready, more (a further page is under way), failed. */
const EMPTY = { ids: [], next: null, state: "loading", problem: null };
export const list = signal(EMPTY);
/** New items that are not in the list yet, as that would move what is being read. */
export const waiting = signal([]);
/** Items that have just come: they slide in. */
export const arrived = signal(new Set());
export const selected = signal(new Set());
export const active = signal(null);

export const visible = computed(() => list.value.ids.filter((id) => !isHidden(id)));

let filters = {};
let aborter = new AbortController();
let isAtTop = true;

/** Tell whether the reader sees the top of the list: new items wait while not. */
export function setAtTop(value) {
  isAtTop = value;
  if (value) showWaiting();
}

async function readPage(after, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await get(withQuery("/api/feedback", { ...parameters(filters), limit: PAGE, after }), { signal });
    } catch (problem) {
      if (attempt === PATIENCE || ![429, 503].includes(problem.status)) throw problem;
      await new Promise((resolve) => setTimeout(resolve, Math.min(problem.wait || 1, 10) * 1000));
    }
  }
}

function take(page, ids) {
  takeListed(page.items);
  if (!takeCount(page.unread_count, page.cursor)) countSoon();
  const known = new Set(ids);
  list.value = {
    ids: [...ids, ...page.items.map((item) => item.id).filter((id) => !known.has(id) && stored(id))],
    next: page.next,
    state: "ready",
    problem: null,
  };
  // What happened after the page was read, and came before it.
  everything()
    .filter((item) => item.cursor > page.cursor)
    .forEach(insert);
}

async function load(after, ids) {
  aborter.abort();
  const mine = (aborter = new AbortController());
  try {
    const page = await readPage(after, mine.signal);
    if (mine.signal.aborted) return null;
    batch(() => take(page, ids));
    return page;
  } catch (problem) {
    if (!mine.signal.aborted) list.value = { ...list.value, state: "failed", problem };
    return null;
  }
}

/** Show the list of these filters from its top. Returns its first page, or null if there was none to be had. */
export function show(wanted) {
  filters = wanted;
  batch(() => {
    list.value = EMPTY;
    waiting.value = [];
    selected.value = new Set();
    active.value = null;
  });
  return load(undefined, []);
}

/** Read the next page, if there is one and none is under way. */
export async function more(isRetry = false) {
  const { ids, next, state } = list.value;
  if (next === null || !(state === "ready" || isRetry)) return;
  list.value = { ...list.value, state: "more" };
  await load(next, ids);
}

/** The place of an id in a list of ids, newest first. */
function placeOf(id, ids) {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle] > id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Put an item in its place, if it is one of those that are shown and not further down than what is loaded. */
export function insert(item) {
  const { ids, next, state } = list.value;
  const place = placeOf(item.id, ids);
  if (state === "loading" || ids[place] === item.id || !matches(item, filters)) return;
  if (next !== null && place === ids.length) return;
  if (isAtTop) putIn([item.id]);
  else if (!waiting.value.includes(item.id)) waiting.value = [item.id, ...waiting.value];
}

function putIn(newcomers) {
  const ids = [...list.value.ids];
  for (const id of newcomers) ids.splice(placeOf(id, ids), 0, id);
  list.value = { ...list.value, ids };
  const fresh = new Set([...arrived.value, ...newcomers]);
  arrived.value = fresh;
  // Long enough for the animation.
  setTimeout(() => {
    arrived.value = new Set([...arrived.value].filter((id) => !newcomers.includes(id)));
  }, 2000);
}

export function showWaiting() {
  if (!waiting.value.length) return;
  batch(() => {
    putIn(waiting.value);
    waiting.value = [];
  });
}

/** Take a deleted item out. */
export function drop(id) {
  const without = (ids) => ids.filter((other) => other !== id);
  if (list.value.ids.includes(id)) list.value = { ...list.value, ids: without(list.value.ids) };
  if (waiting.value.includes(id)) waiting.value = without(waiting.value);
  if (selected.value.has(id)) selected.value = new Set(without([...selected.value]));
}
