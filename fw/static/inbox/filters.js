// What of the inbox is shown, as the address bar has it, the API takes it, and a new item is tried against it.
import { withQuery } from "./api.js";

const DAYS = { today: 1, 7: 7, 30: 30 };
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Read filters from a query string: `{q, unread, widget, days, from, to}`, empty where there is none. */
export function readFilters(query) {
  const given = new URLSearchParams(query);
  const text = (name) => given.get(name) ?? "";
  const day = (name) => (DAY.test(text(name)) ? text(name) : "");
  const days = Object.hasOwn(DAYS, text("days")) ? text("days") : "";
  return {
    q: text("q").slice(0, 200),
    unread: text("unread") && "1",
    widget: /^[0-9a-f-]{36}$/i.test(text("widget")) ? text("widget") : "",
    days,
    from: days ? "" : day("from"),
    to: days ? "" : day("to"),
  };
}

export const isFiltered = (filters) => Object.values(filters).some(Boolean);

export const addressOf = (path, filters) => withQuery(path, filters);

function midnight(day, later = 0) {
  const moment = day ? new Date(`${day}T00:00`) : new Date();
  moment.setHours(0, 0, 0, 0);
  moment.setDate(moment.getDate() + later);
  return moment;
}

/** The moments between which the days of the filters lie, by the clock of this machine; null where there is no bound. */
function span({ days, from, to }) {
  if (days) return [midnight("", 1 - DAYS[days]), null];
  return [from ? midnight(from) : null, to ? new Date(midnight(to, 1) - 1) : null];
}

/** The parameters of the API. */
export function parameters(filters) {
  const [from, to] = span(filters);
  return {
    q: filters.q,
    is_read: filters.unread && "false",
    widget_id: filters.widget,
    from: from?.toISOString(),
    to: to?.toISOString(),
  };
}

/** Tell whether an item belongs to what is shown. */
export function matches(item, filters) {
  const [from, to] = span(filters);
  const moment = new Date(item.created_at);
  return (
    (!filters.unread || !item.is_read) &&
    (!filters.widget || item.widget_id === filters.widget) &&
    (!filters.q || item.message.toLowerCase().includes(filters.q.toLowerCase())) &&
    (!from || moment >= from) &&
    (!to || moment <= to)
  );
}
