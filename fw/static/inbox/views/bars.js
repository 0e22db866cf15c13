// The two bars above the list: what is shown, and what is done with what is selected.
import { mark } from "../changes.js";
import { isFiltered } from "../filters.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { selected, visible } from "../list.js";
import { widgets } from "../widgets.js";
import { Sign } from "./marks.js";

const TYPING = 250;

function Search({ q, change }) {
  const [text, setText] = useState(q);
  const sent = useRef(q);
  const timer = useRef();
  useEffect(() => {
    // The address has changed otherwise: by the back button, or a filter taken away.
    if (q !== sent.current) setText((sent.current = q));
  }, [q]);
  const input = ({ currentTarget }) => {
    setText(currentTarget.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => change({ q: (sent.current = currentTarget.value.trim()) }, true), TYPING);
  };
  return html`<label class="search">
    <${Sign} name="search" />
    <span class="hidden-words">Search</span>
    <input type="search" placeholder="Search" maxlength="200" value=${text} onInput=${input} aria-keyshortcuts="/" />
  </label>`;
}

const PERIODS = { "": "Any day", today: "Today", 7: "Last 7 days", 30: "Last 30 days", between: "From … to …" };

function Period({ filters, change, isBetween, setBetween }) {
  const choose = ({ currentTarget: { value } }) => {
    setBetween(value === "between");
    if (value !== "between") change({ days: value, from: "", to: "" });
    else if (filters.days) change({ days: "" });
  };
  return html`<label class="choice"><span class="hidden-words">Days</span>
    <select value=${isBetween ? "between" : filters.days} onChange=${choose}>
      ${["", "today", "7", "30", "between"].map((days) => html`<option value=${days}>${PERIODS[days]}</option>`)}
    </select></label>`;
}

function Between({ filters, change }) {
  const day = (name, label) =>
    html`<label><span>${label}</span>
      <input type="date" value=${filters[name]} onChange=${(event) => change({ [name]: event.currentTarget.value, days: "" })} /></label>`;
  return html`<div class="between">${day("from", "From")} ${day("to", "to")}</div>`;
}

/** What is shown. `change(fields, isTyped)` takes the filters that are other now. */
export function FilterBar({ filters, change }) {
  const [isOpen, setOpen] = useState(false);
  const isBetween = isOpen || Boolean(filters.from || filters.to);
  const all = widgets.value ?? [];
  const showAll = () => {
    setOpen(false);
    change({ q: "", unread: "", widget: "", days: "", from: "", to: "" });
  };
  return html`<form class="bar" role="search" onSubmit=${(event) => event.preventDefault()}>
    <${Search} q=${filters.q} change=${change} />
    <div class="filters">
      <button type="button" aria-pressed=${filters.unread ? "true" : "false"} onClick=${() => change({ unread: filters.unread ? "" : "1" })}>
        Unread</button>
      ${(all.length > 0 || filters.widget) &&
      html`<label class="choice"><span class="hidden-words">Widget</span>
        <select value=${filters.widget} onChange=${(event) => change({ widget: event.currentTarget.value })}>
          <option value="">All sources</option>
          ${all.map((widget) => html`<option value=${widget.id}>${widget.name}</option>`)}
        </select></label>`}
      <${Period} filters=${filters} change=${change} isBetween=${isBetween} setBetween=${setOpen} />
      ${isFiltered(filters) &&
      html`<button type="button" class="plain last" onClick=${showAll}>
        Show all</button>`}
    </div>
    ${isBetween && html`<${Between} filters=${filters} change=${change} />`}
  </form>`;
}

/** What is done with what is selected. */
export function SelectionBar({ erase }) {
  const ids = [...selected.value];
  const isAll = ids.length === visible.value.length;
  const markAll = (isRead) => {
    mark(ids, isRead);
    selected.value = new Set();
  };
  return html`<div class="bar selection" role="toolbar" aria-label="Selected feedback">
    <div class="filters">
      <strong>${ids.length.toLocaleString()} selected</strong>
      <button type="button" class="plain last" onClick=${() => (selected.value = new Set(isAll ? [] : visible.value))}>
        ${isAll ? "Select none" : "Select all shown"}</button>
      <button type="button" class="plain" onClick=${() => (selected.value = new Set())}>Cancel</button>
    </div>
    <div class="filters">
      <button type="button" onClick=${() => markAll(true)}>Mark read</button>
      <button type="button" onClick=${() => markAll(false)}>Mark unread</button>
      <button type="button" class="danger" onClick=${() => erase(ids)}>Delete</button>
    </div>
  </div>`;
}
