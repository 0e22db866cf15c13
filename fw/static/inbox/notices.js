// Short messages: one to be seen for a while, and what screen readers are told.
import { signal } from "./html.js";

const SECONDS = 6;
let timer;

/** What is seen: `{words, isError}`, or null. */
export const notice = signal(null);
/** What is only heard. */
export const announcement = signal("");

export function tell(words, { isError = false } = {}) {
  clearTimeout(timer);
  notice.value = { words, isError };
  timer = setTimeout(() => (notice.value = null), SECONDS * 1000);
}

export const complain = (problem) => tell(problem.words ?? String(problem), { isError: true });

export function announce(words) {
  // The same words twice would be no change, and not be read.
  announcement.value = announcement.value === words ? `${words} ` : words;
}
