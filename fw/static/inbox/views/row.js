// One row of the list.
import { html } from "../html.js";
import { active, arrived, selected } from "../list.js";
import { shown } from "../store.js";
import { findWidget, sourceOf } from "../widgets.js";
import { beginning, rating } from "../words.js";
import { Time } from "./time.js";

/** The height of a row in pixels; all have the same, so that a place in the list is known without drawing what is above it. */
export const ROW = 84;

export function Rating({ item }) {
  const value = item.metadata?.rating;
  if (typeof value !== "number") return null;
  const { stars, words } = rating(value, findWidget(item.widget_id)?.type);
  if (!stars) return html`<span class="rating">${words}</span>`;
  return html`<span class="rating stars" role="img" aria-label=${words} title=${words}>${stars}</span>`;
}

export function Row({ id, place, total, href, isOpen, isTabbable, select }) {
  const item = shown(id);
  if (!item) return null;
  const text = beginning(item.message, 240);
  const isSelected = selected.value.has(id);
  const names = ["row", !item.is_read && "unread", isSelected && "selected", arrived.value.has(id) && "arrived"];
  const tabIndex = isTabbable ? 0 : -1;
  return html`<li class=${names.filter(Boolean).join(" ")} data-id=${id} aria-setsize=${total} aria-posinset=${place + 1}
    style=${{ transform: `translateY(${place * ROW}px)` }}>
    <label class="tick">
      <input type="checkbox" checked=${isSelected} tabindex=${tabIndex} onClick=${(event) => select(id, event.shiftKey)}
        aria-label=${`Select: ${beginning(item.message, 60) || "a rating without words"}`} />
    </label>
    <a href=${href} tabindex=${tabIndex} aria-current=${isOpen ? "true" : undefined} onFocus=${() => (active.value = id)}>
      <span class="row-top">
        ${!item.is_read && html`<span class="unread-mark"><span class="hidden-words">Unread. </span></span>`}
        <span class="source" dir="auto">${sourceOf(item)}</span>
        <${Rating} item=${item} />
        <${Time} moment=${item.created_at} />
      </span>
      <span class=${text ? "row-text" : "row-text no-words"} dir="auto">${text || "No words"}</span>
    </a>
  </li>`;
}
