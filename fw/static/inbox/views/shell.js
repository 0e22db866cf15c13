// What stands around every view of those who are signed in.
import { sendAllNow, undo, undoable, waitForUndo } from "../changes.js";
import { html, useState } from "../html.js";
import { connection } from "../live.js";
import { announcement, complain, notice } from "../notices.js";
import { isInbox, route } from "../router.js";
import { signOut, user } from "../session.js";
import { unread } from "../store.js";
import { counted } from "../words.js";
import { Logo, Sign } from "./marks.js";

const LINKS = [
  ["/inbox", "Inbox", "inbox", isInbox],
  ["/inbox/widgets", "Widgets", "widgets", (path) => path.startsWith("/inbox/widgets")],
  ["/inbox/settings", "Settings", "settings", (path) => /^\/inbox\/(settings|webhooks)/.test(path)],
];

const CONNECTIONS = {
  live: "Live: new feedback appears by itself.",
  connecting: "Connecting…",
  lost: "The connection is lost. It comes back by itself, and nothing is missed.",
  crowded: "The server takes no further live connection now: perhaps too many tabs are open. Trying again.",
};

function Dot() {
  const words = CONNECTIONS[connection.value];
  return html`<span class=${`dot ${connection.value}`} title=${words} role="status"><span class="hidden-words">${words}</span></span>`;
}

function Badge() {
  if (!unread.value) return null;
  return html`<span class="badge">${unread.value > 999 ? "999+" : unread.value}<span class="hidden-words"> unread</span></span>`;
}

function Navigation() {
  const { path } = route.value;
  return html`<nav aria-label="FeedbackWave">
    ${LINKS.map(
      ([href, name, sign, isHere]) => html`<a href=${href} aria-current=${isHere(path) ? "page" : undefined}>
        <${Sign} name=${sign} /><span>${name}</span>${href === "/inbox" && html`<${Badge} />`}
      </a>`,
    )}
  </nav>`;
}

const isHttps = (address) => /^https:\/\//i.test(address ?? "");

function Picture() {
  const [broken, setBroken] = useState("");
  const { profile_image: address, username } = user.value;
  if (isHttps(address) && broken !== address) {
    return html`<img class="picture" src=${address} alt="" referrerpolicy="no-referrer" onError=${() => setBroken(address)} />`;
  }
  return html`<span class="picture" aria-hidden="true">${username.slice(0, 1).toUpperCase()}</span>`;
}

function Header() {
  const [isLeaving, setLeaving] = useState(false);
  const leave = async () => {
    if (isLeaving) return;
    setLeaving(true);
    try {
      await sendAllNow();
      await signOut();
    } catch (problem) {
      complain(problem);
      setLeaving(false);
    }
  };
  return html`<header class="top">
    <a class="brand" href="/inbox"><${Logo} /><span>FeedbackWave</span></a>
    <${Navigation} />
    <div class="self">
      <${Dot} />
      <${Picture} />
      <span class="name">${user.value.username}</span>
      <button type="button" class="plain" onClick=${leave}>Sign out</button>
    </div>
  </header>`;
}

function Undo({ deletion }) {
  const wait = () => waitForUndo(deletion);
  return html`<div class="notice" onMouseEnter=${wait} onFocusIn=${wait}>
    <span>${counted(deletion.ids.length, "item")} deleted</span>
    <button type="button" onClick=${() => undo(deletion)}>Undo</button>
  </div>`;
}

/** What is told for a while: at the lower edge to those who see, and to those who listen. */
export function Notices() {
  const deletion = undoable.value.at(-1);
  return html`<div class="notices">
      ${notice.value && html`<div class=${`notice${notice.value.isError ? " is-error" : ""}`} role="alert">${notice.value.words}</div>`}
      ${deletion && html`<${Undo} key=${deletion.ids[0]} deletion=${deletion} />`}
    </div>
    <div class="hidden-words" role="status" aria-live="polite">${announcement.value}</div>`;
}

export function Shell({ children }) {
  return html`<a class="skip" href="#main">To the content</a>
    <${Header} />
    ${children}`;
}
