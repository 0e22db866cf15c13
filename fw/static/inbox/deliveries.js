// One webhook and its deliveries: read again as long as something waits to be sent, and somebody looks.
import { get, withQuery } from "./api.js";
import { batch, signal } from "./html.js";
import { announce } from "./notices.js";
import { outcomesInWords } from "./webhooks.js";

const [PAGE, LARGEST_PAGE, MOST_PAGES] = [20, 100, 5];
/** Milliseconds until it is read again: at first, and at last when nothing changes. What is due later is waited for, up to an hour. */
const [SOON, SELDOM, LATEST] = [500, 30_000, 3_600_000];
const GROWTH = 1.5;
/** How often the pause grows while things change. */
const STEADY = 3;

const waits = (item) => item.next_attempt_at !== null;

/** Return `{webhook, items, next, problem, reload, more, start, stop}`, the first four as signals; `webhook` is null if there is none. */
export function followWebhook(id) {
  const path = `/api/webhooks/${id}`;
  const [webhook, items, next, problem] = [signal(undefined), signal([]), signal(null), signal(null)];
  let [timer, round, isOver, reading] = [0, 0, false, Promise.resolve()];

  /** Read the newest deliveries, down to the oldest known one that waits; `isReached` is false if that is too far away. */
  async function readNewest() {
    const oldest = items.value.findLast(waits)?.id;
    const limit = Math.min(Math.max(items.value.length, PAGE), LARGEST_PAGE);
    const found = [];
    let after;
    for (let pages = 1; ; pages += 1) {
      const page = await get(withQuery(`${path}/deliveries`, { limit, after }));
      found.push(...page.items);
      after = page.next;
      const isReached = after === null || oldest === undefined || found.at(-1).id <= oldest;
      if (isReached || pages === MOST_PAGES) return { found, after, isReached };
    }
  }

  function take(changed, { found, after, isReached }) {
    const known = items.value;
    // What lies between two lists that do not meet is not known: the older one is left, and can be shown again.
    const meet = isReached && found.length > 0 && known.length > 0 && found.at(-1).id <= known[0].id;
    const older = meet ? known.filter((item) => item.id < found.at(-1).id) : [];
    const all = [...found, ...older];
    const before = new Map(known.map((item) => [item.id, item.attempts]));
    const tried = found.filter((item) => item.attempts > (before.get(item.id) ?? 0));
    if (webhook.value && tried.length) announce(outcomesInWords(tried));
    round = JSON.stringify(all) === JSON.stringify(known) ? round + 1 : Math.min(round + 1, STEADY);
    batch(() => {
      webhook.value = changed;
      items.value = all;
      if (!older.length) next.value = after;
      problem.value = null;
    });
  }

  async function read() {
    try {
      const [changed, newest] = await Promise.all([get(path), readNewest()]);
      if (!isOver) take(changed, newest);
    } catch (found) {
      if (isOver) return;
      if (found.status === 404) webhook.value = null;
      round += 1;
      problem.value = found;
    }
    wait();
  }

  /** Have it read again when the next attempt is due; not at all if nothing waits. */
  function wait() {
    clearTimeout(timer);
    const due = items.value.filter(waits).map((item) => Date.parse(item.next_attempt_at));
    if (!webhook.value || isOver || document.hidden || !due.length) return;
    const pause = Math.min(SOON * GROWTH ** round, SELDOM);
    timer = setTimeout(queue, Math.min(Math.max(Math.min(...due) + SOON - Date.now(), pause), LATEST));
  }

  const queue = () => (reading = reading.then(read));

  /** Read it again, now. */
  function reload() {
    round = 0;
    return queue();
  }

  const look = () => {
    if (!document.hidden) reload();
  };

  async function more() {
    const page = await get(withQuery(`${path}/deliveries`, { limit: PAGE, after: next.value }));
    const last = items.value.at(-1)?.id;
    batch(() => {
      items.value = [...items.value, ...page.items.filter((item) => item.id < last)];
      next.value = page.next;
    });
    wait();
  }

  function start() {
    reload();
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
  }

  function stop() {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    removeEventListener("focus", look);
  }

  return { webhook, items, next, problem, reload, more, start, stop };
}
