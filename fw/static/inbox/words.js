// Times, durations, numbers and ratings in words.
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const LONG = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

export const exactTime = (moment) => EXACT.format(new Date(moment));

/** "now", "5 min. ago", "yesterday"; a date if it is more than six days ago. */
export function relativeTime(moment, now = Date.now()) {
  const then = new Date(moment);
  const seconds = (then - now) / 1000;
  if (seconds < -6.5 * 86400) {
    return (then.getFullYear() === new Date(now).getFullYear() ? SHORT : LONG).format(then);
  }
  for (const [unit, size] of STEPS) {
    if (seconds <= -size) return RELATIVE.format(Math.round(seconds / size), unit);
  }
  return "now";
}

/** A day as the API writes it (2026-01-31), to be read. */
export const dayInWords = (day) => LONG.format(new Date(`${day}T12:00`));

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

/** Seconds, to be waited: "45 seconds", "3 minutes". */
export function duration(seconds) {
  if (seconds < 90) return counted(Math.ceil(seconds), "second");
  return seconds < 5400 ? counted(Math.ceil(seconds / 60), "minute") : counted(Math.ceil(seconds / 3600), "hour");
}

/** A share from 0 to 1 as a percentage; a dash if there is none. */
export const percentage = (share) => (share === null ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);

/** How a rating is shown: `stars` where it counts stars, and words for everyone. */
export function rating(value, type) {
  if (type === "nps") return { stars: "", words: `${value} of 10` };
  const isOfFive = Number.isInteger(value) && value >= 1 && value <= 5;
  if (isOfFive && type !== undefined) return { stars: "★".repeat(value) + "☆".repeat(5 - value), words: `${value} of 5 stars` };
  return { stars: "", words: `Rating ${value}` };
}

/** The beginning of a text, on one line. */
export function beginning(text, length = 80) {
  const line = text.replace(/\s+/gu, " ").trim();
  const characters = [...line.slice(0, length * 2)];
  return characters.length > length ? `${characters.slice(0, length).join("")}…` : line;
}
