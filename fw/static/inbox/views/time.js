// A moment: relative to now, exact when pointed at.
import { html, signal } from "../html.js";
import { exactTime, relativeTime } from "../words.js";

export const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 30_000);

export const Time = ({ moment }) =>
  html`<time datetime=${moment} title=${exactTime(moment)}>${relativeTime(moment, now.value)}</time>`;
