// The owner's widgets, as far as the inbox needs them: their names and types.
import { get, withQuery } from "./api.js";
import { signal } from "./html.js";

/** All widgets, newest first; null before they are read. */
export const widgets = signal(null);

let reading = null;

async function readAll() {
  const all = [];
  for (let after; ; ) {
    const page = await get(withQuery("/api/widgets", { limit: 100, after }));
    all.push(...page.items);
    if (page.next === null) break;
    after = page.next;
  }
  widgets.value = all;
}

/** Read them again; who asks while that is under way shares it. Throws a Problem. */
export function readWidgets() {
  reading ??= readAll().finally(() => (reading = null));
  return reading;
}

export const findWidget = (id) => widgets.value?.find((widget) => widget.id === id);

/** Where an item came from, in words. */
export function sourceOf(item) {
  if (!item.widget_id) return "Public page";
  return findWidget(item.widget_id)?.name ?? (widgets.value ? "A deleted widget" : "A widget");
}

export const TYPES = {
  button: "Floating button",
  inline: "Inline form",
  popup: "Popup",
  rating: "Rating, 1 to 5",
  nps: "NPS, 0 to 10",
};

export const snippetOf = (id) => `<script async src="${location.origin}/widget.js" data-widget="${id}"></script>`;
