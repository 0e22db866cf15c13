// The reader's own changes: shown at once, sent in order, and taken back if the server refuses them.
import { call } from "./api.js";
import { signal } from "./html.js";
import { active, selected, visible } from "./list.js";
import { connection } from "./live.js";
import { announce, complain } from "./notices.js";
import { forgetOwn, showOwn, shown, stored, takeChanged } from "./store.js";
import { counted } from "./words.js";

const AT_ONCE = 500;
const ECHO = 5000;
const UNDO = 6000;

let sending = Promise.resolve();

/** Send one after the other: two changes of an item must not overtake each other. */
function inOrder(send) {
  sending = sending.then(send, send);
  return sending;
}

async function sendAll(ids, fields) {
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    await call("POST", "/api/feedback/bulk", { ids: ids.slice(start, start + AT_ONCE), ...fields });
  }
}

/** Mark items read or unread. */
export function mark(ids, isRead) {
  const changing = ids.filter((id) => shown(id) && shown(id).is_read !== isRead);
  if (!changing.length) return Promise.resolve();
  const change = showOwn(changing, { is_read: isRead });
  return inOrder(() => sendMark(changing, isRead, change));
}

async function sendMark(ids, isRead, change) {
  try {
    if (ids.length > 1) await sendAll(ids, { is_read: isRead });
    else takeChanged(await call("PATCH", `/api/feedback/${ids[0]}/read`, { is_read: isRead }), false);
    ids.forEach(settleOwn(change));
    giveUp(ids, change);
  } catch (problem) {
    forgetOwn(ids, change);
    if (problem.status !== 404) complain(problem);
  }
}

/** Where another device was quicker there is no echo: stop waiting for it. Without a connection it is still to come. */
function giveUp(ids, change) {
  setTimeout(() => {
    if (connection.value === "live") forgetOwn(ids, change);
    else giveUp(ids, change);
  }, ECHO);
}

const settleOwn = (change) => (id) => {
  if (stored(id)?.is_read === change.is_read) forgetOwn([id], change);
};

/** Deletions that can still be undone, the latest last: `{ids, change, timer}`. */
export const undoable = signal([]);

/** Hide items now, and delete them when there is no way back. */
export function remove(ids) {
  const hiding = ids.filter((id) => stored(id));
  if (!hiding.length) return;
  moveOn(hiding);
  const deletion = { ids: hiding, change: showOwn(hiding, { deleted: true }) };
  selected.value = new Set([...selected.value].filter((id) => !hiding.includes(id)));
  undoable.value = [...undoable.value, deletion];
  waitForUndo(deletion);
  announce(`${counted(hiding.length, "item")} deleted. Press z to undo.`);
}

/** The reader goes on with the item after those that go away. */
function moveOn(ids) {
  if (!ids.includes(active.value)) return;
  const place = visible.value.indexOf(active.value);
  const stays = (id) => !ids.includes(id);
  active.value = visible.value.slice(place).find(stays) ?? visible.value.slice(0, place).findLast(stays) ?? null;
}

/** Delete in a moment, counted from now: whoever is about to undo gets the whole time again. */
export const waitForUndo = (deletion) => {
  clearTimeout(deletion.timer);
  deletion.timer = setTimeout(() => send(deletion), UNDO);
};

function take(deletion) {
  clearTimeout(deletion.timer);
  undoable.value = undoable.value.filter((other) => other !== deletion);
}

/** Undo the latest deletion, or this one. */
export function undo(deletion = undoable.value.at(-1)) {
  if (!undoable.value.includes(deletion)) return;
  take(deletion);
  forgetOwn(deletion.ids, deletion.change);
  active.value = deletion.ids[0];
  announce(`${counted(deletion.ids.length, "item")} kept.`);
}

function send(deletion) {
  take(deletion);
  return inOrder(async () => {
    try {
      await sendAll(deletion.ids, { delete: true });
    } catch (problem) {
      forgetOwn(deletion.ids, deletion.change);
      complain(problem);
    }
  });
}

/** Send what waits for an undo: the reader is about to go. */
export const sendAllNow = () => Promise.all(undoable.value.map(send));

/** Likewise, when the page is left: nothing can be waited for any more. */
export function sendAsPageEnds() {
  const ids = undoable.value.flatMap((deletion) => deletion.ids);
  undoable.value.forEach(take);
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    call("POST", "/api/feedback/bulk", { ids: ids.slice(start, start + AT_ONCE), delete: true }, { keepalive: true }).catch(() => {});
  }
}
