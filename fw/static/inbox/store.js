// What is known of the inbox: its items, its count of unread ones, and the reader's own changes that are under way.
import { computed, signal } from "./html.js";

/** By id, a signal of the item as the server last told it. An item's `cursor` tells which of two states is the newer one. */
const items = new Map();
const gone = new Set();

/**
 * Own changes by id, shown before the server has them: `{is_read}` or `{deleted: true}`. A change stays until its echo has come.
 * The map is never changed, but replaced.
 */
const own = signal(new Map());

/** Unread items as the server counted them at the cursor `at`; changes up to `seen` are in it. */
const count = signal({ unread: 0, at: -1, seen: -1 });

export const stored = (id) => items.get(id)?.value;

/** An item as the reader sees it: with the own changes that are under way. */
export function shown(id) {
  const item = stored(id);
  const change = own.value.get(id);
  return item && change?.is_read !== undefined ? { ...item, is_read: change.is_read } : item;
}

export const isHidden = (id) => own.value.get(id)?.deleted === true;

export const everything = () => [...items.values()].map((item) => item.peek());

/** What the reader's own changes add to the count of the server. */
function difference(id, change) {
  const item = stored(id);
  if (!item) return 0;
  const isUnread = change.deleted ? false : !change.is_read;
  return Number(isUnread) - Number(!item.is_read);
}

export const unread = computed(() => {
  let total = count.value.unread;
  for (const [id, change] of own.value) total += difference(id, change);
  return Math.max(0, total);
});

/** Take a count of the server's, unless changes after it are counted already. Returns whether it was taken. */
export function takeCount(total, cursor) {
  if (cursor < count.value.seen) return false;
  count.value = { unread: total, at: cursor, seen: cursor };
  return true;
}

/** Tell whether events from the cursor `since` to `cursor` may hold changes that the count has and others that it has not. */
export const isAmbiguous = (since, cursor) => since < count.value.at && count.value.at < cursor;

function countChange(cursor, change) {
  const { unread: total, at, seen } = count.value;
  if (cursor > at) count.value = { unread: total + change, at, seen: Math.max(seen, cursor) };
}

/** Take items of a list, which its count is right for. */
export function takeListed(listed) {
  for (const item of listed) replaceOlder(item);
}

function replaceOlder(item) {
  const known = items.get(item.id);
  if (gone.has(item.id)) return false;
  if (!known) items.set(item.id, signal(item));
  else if (known.value.cursor < item.cursor) known.value = item;
  else return false;
  return true;
}

/** Take a changed item, and count it. Returns false if the count cannot follow, as its state before is not known. */
export function takeChanged(item, isNew) {
  const before = stored(item.id);
  if (!replaceOlder(item)) return true;
  const wasUnread = before ? !before.is_read : false;
  countChange(item.cursor, Number(!item.is_read) - Number(wasUnread));
  return isNew || before !== undefined;
}

/** Forget an item that is deleted. Returns false if the count cannot follow. */
export function takeDeleted(id, cursor) {
  const before = stored(id);
  gone.add(id);
  items.delete(id);
  forgetOwn([id]);
  if (before) countChange(cursor, -Number(!before.is_read));
  return before !== undefined;
}

/** Forget everything, to read it anew. */
export function forgetAll() {
  items.clear();
  gone.clear();
  own.value = new Map();
  count.value = { unread: count.value.unread, at: -1, seen: -1 };
}

/** Show an own change of some items. Returns the change, by which it is known later. */
export function showOwn(ids, fields) {
  const change = { ...fields };
  const changes = new Map(own.value);
  for (const id of ids) changes.set(id, change);
  own.value = changes;
  return change;
}

/** No longer show own changes: of these items, and if `change` is given only that one. */
export function forgetOwn(ids, change) {
  const changes = new Map(own.value);
  for (const id of ids) {
    if (!change || changes.get(id) === change) changes.delete(id);
  }
  if (changes.size !== own.value.size) own.value = changes;
}

/** The echo of an own change has come: the item itself now has what was shown. */
export function settle(id) {
  const change = own.value.get(id);
  if (change?.is_read !== undefined && change.is_read === stored(id)?.is_read) forgetOwn([id]);
}
