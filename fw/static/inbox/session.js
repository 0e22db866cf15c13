// Who is signed in, in this tab and in the others.
import { call, get, onUnauthorized } from "./api.js";
import { signal } from "./html.js";
import { keep, recall } from "./kept.js";
import { go } from "./router.js";

const HINT = "fw.signed-in";
const tabs = new BroadcastChannel("fw.session");
let last = null;

/** undefined: not known yet; null: signed out. */
export const user = signal(undefined);
/** Why nobody is signed in any more, in words. */
export const farewell = signal("");

// No script can see the cookie. The hint spares those who are signed out a request that would be refused.
export const mayBeSignedIn = () => recall(HINT) !== null;

function enter(account) {
  keep(HINT, "1");
  farewell.value = "";
  // Whoever is signed in has nothing to do where others sign in or up.
  if (/^\/inbox\/sign(in|up)$/.test(location.pathname)) go("/inbox", { replace: true });
  // What is still on its way was asked for by somebody else, and must not be shown to this one.
  if (last !== null && last !== account.id) return location.reload();
  last = account.id;
  user.value = account;
}

function leave(words = "") {
  keep(HINT, null);
  farewell.value = words;
  user.value = null;
}

/** Find out who is signed in. */
export async function loadUser() {
  enter(await get("/api/auth/me"));
}

/** Sign in or up; `fields` are those of the API. */
export async function open(path, fields) {
  const answer = await call("POST", path, { ...fields, session: "cookie" });
  enter(answer.user);
  tabs.postMessage("changed");
}

export async function signOut() {
  await call("POST", "/api/auth/logout");
  end("You are signed out.");
}

export async function signOutEverywhere() {
  await call("DELETE", "/api/auth/sessions");
  await call("POST", "/api/auth/logout");
  end("You are signed out everywhere.");
}

/** End the session in all tabs, because it has ended on the server. */
export function end(words) {
  leave(words);
  go("/inbox", { replace: true });
  tabs.postMessage("changed");
}

export const lost = () => {
  if (user.value !== null) leave(user.value ? "Your session has ended. Please sign in again." : "");
};

onUnauthorized(lost);

/** See whether it is still the same person who is signed in; if not, what is shown is somebody else's. */
export async function check() {
  const before = user.value?.id;
  if (!before && !mayBeSignedIn()) return;
  const account = await get("/api/auth/me");
  if (account.id === before) user.value = account;
  else location.reload();
}

tabs.onmessage = () => {
  if (mayBeSignedIn()) check().catch(() => {});
  else if (user.value !== undefined) leave("You are signed out.");
};
