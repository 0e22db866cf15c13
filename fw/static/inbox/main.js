// Starts the app: who is signed in, what is shown, and what is followed.
import { alertOf, followTitle } from "./alerts.js";
import { sendAsPageEnds } from "./changes.js";
import { readFilters } from "./filters.js";
import { computed, effect, html, render, untracked } from "./html.js";
import { takeKey } from "./keyboard.js";
import * as live from "./live.js";
import { announce, complain } from "./notices.js";
import { followLinks, go, isInbox, route } from "./router.js";
import { loadUser, lost, mayBeSignedIn, user } from "./session.js";
import { unread } from "./store.js";
import { ensureList, onNewItem, startOver } from "./sync.js";
import { App, nameOfView } from "./views/app.js";
import { findWidget, readWidgets, widgets } from "./widgets.js";
import { beginning } from "./words.js";

const [HEARD, RETRY] = [800, 2000];
let unheard = 0;
let followed = null;

/** Tell those who listen of new items: several that come together as one. */
function hear(item) {
  unheard += 1;
  if (unheard === 1) {
    setTimeout(() => {
      announce(unheard === 1 ? `New feedback: ${beginning(item.message) || "a rating"}` : `${unheard} new items of feedback.`);
      unheard = 0;
    }, HEARD);
  }
  alertOf(item, () => go(`/inbox/feedback/${item.id}`));
  // A widget that was made on another device.
  if (item.widget_id && widgets.value && !findWidget(item.widget_id)) readWidgets().catch(() => {});
}

/** Follow the inbox of whoever is signed in. */
function follow(id) {
  if (id === followed) return;
  followed = id;
  if (id) begin(id);
  else finish();
}

async function begin(id) {
  readWidgets().catch(complain);
  await ensureList();
  if (followed === id) live.start();
}

function finish() {
  live.stop();
  startOver();
  widgets.value = null;
}

async function start() {
  onNewItem(hear, () => readFilters(isInbox(route.peek().path) ? route.peek().query : ""));
  effect(() => {
    const id = user.value?.id ?? null;
    untracked(() => follow(id));
  });
  followTitle(computed(() => (user.value ? unread.value : 0)), nameOfView);
  live.watch();
  addEventListener("pagehide", sendAsPageEnds);
  document.addEventListener("click", followLinks);
  document.addEventListener("keydown", takeKey);
  const root = document.getElementById("app");
  if (mayBeSignedIn()) await enter();
  else lost();
  root.replaceChildren();
  render(html`<${App} />`, root);
}

/** Ask for the account, its list and its widgets at once: that spares two ways to the server. */
async function enter() {
  ensureList();
  readWidgets().catch(() => {});
  await loadAccount();
}

const loadAccount = () =>
  loadUser().catch((problem) => {
    if (problem.status !== 401) setTimeout(loadAccount, RETRY);
  });

start();
