// Where the reader is: the path and the query of the address bar, as a signal.
import { signal } from "./html.js";

const read = () => ({ path: location.pathname.replace(/\/+$/, "") || "/inbox", query: location.search });

export const route = signal(read());

addEventListener("popstate", () => {
  route.value = read();
});

/** Tell whether a path shows the list, or an item of it. */
export const isInbox = (path) => !/^\/inbox\/(widgets|webhooks|settings|signin|signup)(\/|$)/.test(path);

/** Go to a path of the app; with `replace` the address before it is not kept in the history. */
export function go(path, { replace = false } = {}) {
  if (path === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"]({}, "", path);
  route.value = read();
}

/** Let plain clicks on links of the app change the route; all others are the browser's. */
export function followLinks(event) {
  const link = event.target.closest?.("a[href^='/inbox']");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || link.target || !isPlain || event.defaultPrevented) return;
  event.preventDefault();
  go(link.getAttribute("href"));
}
