// Follows the inbox: every event once, in order, by the cursor.
import { get } from "./api.js";
import { countSoon } from "./count.js";
import { batch } from "./html.js";
import * as list from "./list.js";
import { forgetAll, isAmbiguous, settle, stored, takeChanged, takeCount, takeDeleted, takeListed } from "./store.js";

let question = null;
let reading = Promise.resolve();

/** How far this client has followed; null before the first list. */
let cursor = null;
let hear = () => {};
let whatIsShown = () => ({});

export const position = () => cursor;

/** Set what is called with each new item, and what tells the filters that are shown. */
export function onNewItem(listener, filters) {
  hear = listener;
  whatIsShown = filters;
}

async function readList() {
  const page = await list.show(whatIsShown());
  if (page && cursor === null) cursor = page.cursor;
}

/** Read the list of what is shown, and follow the inbox from there if nothing has been followed yet. */
export function showList() {
  question = JSON.stringify(whatIsShown());
  reading = readList();
  return reading;
}

/** Likewise, unless that list is there already, or under way. */
export const ensureList = () => (question === JSON.stringify(whatIsShown()) ? reading : showList());

/** Go on where reading the list failed. */
export const tryAgain = () => (list.list.value.ids.length ? list.more(true) : showList());

/** Forget what is known, as somebody else has signed in or the cursor is worth nothing any more. */
export function startOver() {
  cursor = null;
  question = null;
  forgetAll();
}

const CHANGES = {
  created(event) {
    const isFollowed = takeChanged(event.feedback, true);
    if (!stored(event.feedback.id)) return isFollowed;
    list.insert(stored(event.feedback.id));
    hear(event.feedback);
    return isFollowed;
  },
  updated(event) {
    const isFollowed = takeChanged(event.feedback, false);
    settle(event.feedback.id);
    if (stored(event.feedback.id)) list.insert(stored(event.feedback.id));
    return isFollowed;
  },
  deleted(event) {
    list.drop(event.id);
    return takeDeleted(event.id, event.cursor);
  },
};

function follow(event) {
  if (cursor !== null && event.cursor <= cursor) return;
  const isAmbiguousNow = isAmbiguous(cursor, event.cursor);
  cursor = event.cursor;
  const isFollowed = CHANGES[event.event](event);
  if (!isFollowed || isAmbiguousNow) countSoon();
}

/** Take an event of the live channel. */
export function takeEvent(event) {
  if (event.event === "hello") takeCount(event.unread_count, event.cursor);
  else if (event.event === "resync") {
    startOver();
    cursor = event.cursor;
    showList();
  } else if (event.event in CHANGES) batch(() => follow(event));
}

/** Read one item, unless it is known. Throws a Problem. */
export async function findItem(id) {
  if (stored(id)) return;
  const item = await get(`/api/feedback/${id}`);
  takeListed([item]);
  // Its last change may be one that has not been followed yet, and will not be counted when it comes.
  if (item.cursor > (cursor ?? 0)) countSoon();
}
