// How the owner hears of new feedback: the title and the icon of the page, and, if asked for, a notification and a sound.
import { effect, signal } from "./html.js";
import { keep, recall } from "./kept.js";
import { beginning } from "./words.js";

const [NOTIFY, SOUND] = ["fw.notify", "fw.sound"];

export const canNotify = () => "Notification" in window && isSecureContext;
export const isNotifying = signal(recall(NOTIFY) !== null && canNotify() && Notification.permission === "granted");
export const isSounding = signal(recall(SOUND) !== null);

let audio;

/** Switch notifications; the browser asks the owner. Returns whether they are as wanted now. */
export async function setNotifying(isWanted) {
  const isAllowed = isWanted && (await Notification.requestPermission()) === "granted";
  keep(NOTIFY, isAllowed ? "1" : null);
  isNotifying.value = isAllowed;
  return isAllowed === isWanted;
}

export function setSounding(isWanted) {
  keep(SOUND, isWanted ? "1" : null);
  isSounding.value = isWanted;
  if (isWanted) blip();
}

/** Two short tones, the second higher. */
function blip() {
  audio ??= new AudioContext();
  [587, 880].forEach((frequency, place) => {
    const [tone, loudness] = [audio.createOscillator(), audio.createGain()];
    const begin = audio.currentTime + place * 0.09;
    tone.frequency.value = frequency;
    loudness.gain.setValueAtTime(0.0001, begin);
    loudness.gain.exponentialRampToValueAtTime(0.12, begin + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.0001, begin + 0.22);
    tone.connect(loudness).connect(audio.destination);
    tone.start(begin);
    tone.stop(begin + 0.25);
  });
}

/** Tell of a new item, as the owner wants it told. */
export function alertOf(item, open) {
  if (isSounding.value) blip();
  if (!isNotifying.value || !document.hidden) return;
  try {
    const words = beginning(item.message, 140) || "A rating";
    // Two tabs with the same tag show one notification.
    const notification = new Notification("New feedback", { body: words, tag: item.id });
    notification.onclick = () => {
      focus();
      open();
      notification.close();
    };
  } catch {
    // Some browsers of phones show notifications from service workers alone.
  }
}

const GROUND = '<rect width="32" height="32" rx="8" fill="#0f766e"/>';
const WAVE =
  '<path d="M4 19c3 0 3-6 6-6s3 6 6 6 3-6 6-6 3 6 6 6" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>';
const TEXT = 'font-family="system-ui,sans-serif" font-size="12" font-weight="700" text-anchor="middle" fill="#fff"';

/** The icon of the page with a count on it, as a data URL. */
function icon(count) {
  const badge = `<circle cx="22" cy="10" r="10" fill="#b42318"/><text x="22" y="14" ${TEXT}>${Math.min(count, 99)}</text>`;
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${GROUND}${WAVE}${count ? badge : ""}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(drawing)}`;
}

/** Keep the title and the icon of the page as the count and the name of the view are. */
export function followTitle(count, name) {
  const link = document.querySelector("link[rel=icon]");
  effect(() => {
    document.title = `${count.value ? `(${count.value}) ` : ""}${name.value} - FeedbackWave`;
  });
  effect(() => {
    link.href = icon(count.value);
  });
}
