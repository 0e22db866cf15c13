// Asks the server how many items are unread, where following the changes does not tell.
import { get } from "./api.js";
import { takeCount } from "./store.js";

const WAIT = 500;

let timer = null;

/** Take the server's count. Returns the cursor that it is right for. */
export async function countAgain() {
  const page = await get("/api/feedback?limit=1");
  if (!takeCount(page.unread_count, page.cursor)) countSoon();
  return page.cursor;
}

/** Likewise, in a moment, once for many reasons. */
export function countSoon() {
  timer ??= setTimeout(() => {
    timer = null;
    countAgain().catch(() => {});
  }, WAIT);
}
