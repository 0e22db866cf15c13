// One opened item: its message, and all that is known of it.
import { mark } from "../changes.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { isHidden, shown } from "../store.js";
import { findItem } from "../sync.js";
import { findWidget, sourceOf } from "../widgets.js";
import { exactTime } from "../words.js";
import { Sign } from "./marks.js";
import { Rating } from "./row.js";
import { Time } from "./time.js";

/** Metadata as text: a line a value, what is nested further in. */
function nested(value, indent = "") {
  if (value === null || typeof value !== "object") return String(value);
  const entries = Object.entries(value);
  if (!entries.length) return Array.isArray(value) ? "(empty list)" : "(empty)";
  const line = ([key, inner]) => {
    const name = Array.isArray(value) ? "-" : `${key}:`;
    const isDeep = inner !== null && typeof inner === "object" && Object.keys(inner).length;
    return `${indent}${name}${isDeep ? `\n${nested(inner, `${indent}  `)}` : ` ${nested(inner)}`}`;
  };
  return entries.map(line).join("\n");
}

const Fact = ({ name, children }) => html`<div class="fact"><dt dir="auto">${name}</dt><dd dir="auto">${children}</dd></div>`;

function Facts({ item }) {
  const widget = findWidget(item.widget_id);
  const source = sourceOf(item);
  return html`<dl class="facts">
    <${Fact} name="Received">${exactTime(item.created_at)}<//>
    <${Fact} name="Through">${widget ? html`<a href=${`/inbox/widgets/${widget.id}`}>${source}</a>` : source}<//>
    ${item.ip_address && html`<${Fact} name="Address">${item.ip_address}<//>`}
  </dl>`;
}

function Metadata({ metadata }) {
  const entries = Object.entries(metadata ?? {});
  if (!entries.length) return null;
  return html`<section class="metadata">
    <h3>Sent along</h3>
    <dl class="facts">
      ${entries.map(([key, value]) => html`<${Fact} name=${key}><span class="value">${nested(value)}</span><//>`)}
    </dl>
  </section>`;
}

function Missing({ problem, close }) {
  const words = problem?.status === 404 || !problem ? "This feedback is no longer here." : problem.words;
  return html`<div class="missing"><p role="status">${words}</p><button type="button" onClick=${close}>Close</button></div>`;
}

/** Read the item if it is not known, and mark it read once it is shown. */
function useOpened(id) {
  const [problem, setProblem] = useState(null);
  const title = useRef(null);
  const item = isHidden(id) ? undefined : shown(id);
  const isThere = item !== undefined;
  useEffect(() => {
    setProblem(null);
    findItem(id).catch(setProblem);
  }, [id]);
  useEffect(() => {
    if (!isThere) return;
    mark([id], true);
    title.current?.focus({ preventScroll: true });
  }, [id, isThere]);
  return { item, problem, title };
}

export function Item({ id, close, erase }) {
  const { item, problem, title } = useOpened(id);
  const wasThere = useRef(null);
  if (item) wasThere.current = id;
  if (!item) return problem || wasThere.current === id ? html`<${Missing} problem=${problem} close=${close} />` : null;
  return html`<article class="item">
    <div class="item-bar">
      <button type="button" class="plain back" onClick=${close} aria-label="Back to the list"><${Sign} name="back" /></button>
      <button type="button" onClick=${() => mark([id], !item.is_read)}>${item.is_read ? "Mark unread" : "Mark read"}</button>
      <button type="button" class="danger" onClick=${erase}>Delete</button>
      <button type="button" class="plain close" onClick=${close} aria-label="Close"><${Sign} name="close" /></button>
    </div>
    <header>
      <h2 ref=${title} tabindex="-1" dir="auto">${sourceOf(item)}</h2>
      <p class="when"><${Rating} item=${item} /> <${Time} moment=${item.created_at} /></p>
    </header>
    <p class=${item.message ? "message" : "message no-words"} dir="auto">${item.message || "No words"}</p>
    <${Facts} item=${item} />
    <${Metadata} metadata=${item.metadata} />
  </article>`;
}
