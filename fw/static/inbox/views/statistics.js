// What became of a widget: views, opens and submissions a day, and its ratings.
import { get, withQuery } from "../api.js";
import { html, useEffect, useMemo, useState } from "../html.js";
import { go, route } from "../router.js";
import { user } from "../session.js";
import { findWidget } from "../widgets.js";
import { counted, dayInWords, percentage } from "../words.js";
import { Chart } from "./chart.js";
import { Page } from "./page.js";
import { zone } from "./widgets.js";

const SERIES = [
  ["views", "Views"],
  ["opens", "Opens"],
  ["submissions", "Submissions"],
];
const COLORS = ["--quiet", "", "--accent"];
const OPENS = "#c2790b";
const RANGES = { 7: "7 days", 30: "30 days", 90: "90 days", 365: "A year" };
const FREE = 30;
const OF = { rating: "of 5", nps: "of 10" };

/** A day as the API writes it, some days before today. */
function day(before) {
  const moment = new Date();
  moment.setDate(moment.getDate() - before);
  return [moment.getFullYear(), moment.getMonth() + 1, moment.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

function readRange(query) {
  const given = new URLSearchParams(query);
  const [first, last] = [given.get("first"), given.get("last")];
  if (first && last) return { first, last, days: "" };
  const days = given.get("days") in RANGES ? given.get("days") : "30";
  return { first: day(Number(days) - 1), last: day(0), days };
}

function Range({ range }) {
  const most = user.value.is_premium ? 365 : FREE;
  const choose = (fields) => go(withQuery(route.value.path, fields), { replace: true });
  const date = (name, label) =>
    html`<label><span>${label}</span> <input type="date" value=${range[name]} min=${day(most - 1)} max=${day(0)}
      onChange=${(event) => event.currentTarget.value && choose({ first: range.first, last: range.last, [name]: event.currentTarget.value })} /></label>`;
  return html`<div class="filters ranges" role="group" aria-label="Days">
    ${Object.keys(RANGES)
      .filter((days) => Number(days) <= most)
      .map(
        (days) => html`<button type="button" aria-pressed=${days === range.days ? "true" : "false"} onClick=${() => choose({ days })}>
          ${RANGES[days]}</button>`,
      )}
    <div class="between">${date("first", "From")} ${date("last", "to")}</div>
  </div>`;
}

function Totals({ totals, type }) {
  const total = (name, value, beside) => html`<div><dt>${name}</dt><dd>${value} ${beside && html`<span>${beside}</span>`}</dd></div>`;
  return html`<dl class="totals">
    ${total("Views", totals.views.toLocaleString())}
    ${total("Opens", totals.opens.toLocaleString(), percentage(totals.open_rate))}
    ${total("Submissions", totals.submissions.toLocaleString(), percentage(totals.submission_rate))}
    ${totals.average_rating !== null && total("Average rating", totals.average_rating.toFixed(1), OF[type])}
    ${totals.nps !== null && total("NPS", Math.round(totals.nps), "-100 to 100")}
  </dl>`;
}

/** Whole numbers only: there is no half a view. */
const whole = (chart, splits) => splits.map((value) => (Number.isInteger(value) ? value.toLocaleString() : ""));
const fromZero = (chart, least, most) => [0, Math.max(4, most * 1.1)];

function dailyOptions(color, axis, uPlot) {
  const line = (label, place) => {
    const stroke = COLORS[place] ? color(COLORS[place]) : OPENS;
    return { label, stroke, width: 2, points: { show: false }, paths: uPlot.paths.linear() };
  };
  return {
    scales: { x: { time: true }, y: { range: fromZero } },
    axes: [axis, { ...axis, values: whole, size: 56 }],
    series: [{}, ...SERIES.map(([, label], place) => line(label, place))],
  };
}

function ratingOptions(color, axis, uPlot) {
  return {
    scales: { x: { time: false, range: (chart, least, most) => [least - 0.6, most + 0.6] }, y: { range: fromZero } },
    axes: [{ ...axis, grid: { show: false }, values: whole, incrs: [1] }, { ...axis, values: whole, size: 56 }],
    series: [{}, { fill: color("--accent"), stroke: color("--accent"), paths: uPlot.paths.bars({ size: [0.6, 60] }) }],
  };
}

function Table({ caption, head, rows, isOpen }) {
  return html`<div class=${isOpen ? "table-box" : "hidden-words"} tabindex=${isOpen ? 0 : -1} role="region" aria-label=${caption}>
    <table>
      <caption>${caption}</caption>
      <thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
      <tbody>
        ${rows.map(([name, ...values]) => html`<tr><th scope="row">${name}</th>${values.map((value) => html`<td>${value.toLocaleString()}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** A chart, and the table that says the same. */
function Figure({ heading, chart, keys, table }) {
  const [isOpen, setOpen] = useState(false);
  return html`<section class="card">
    <div class="page-head figure-head">
      <h2>${heading}</h2>
      <button type="button" aria-expanded=${isOpen ? "true" : "false"} onClick=${() => setOpen(!isOpen)}>${isOpen ? "Hide" : "Show"} the table</button>
    </div>
    ${chart} ${keys}
    <${Table} ...${table} isOpen=${isOpen} />
  </section>`;
}

function Daily({ daily }) {
  const data = useMemo(
    () => [daily.map(({ date }) => new Date(`${date}T00:00`) / 1000), ...SERIES.map(([name]) => daily.map((one) => one[name]))],
    [daily],
  );
  const table = {
    caption: "Views, opens and submissions a day",
    head: ["Day", ...SERIES.map(([, label]) => label)],
    rows: daily.map((one) => [dayInWords(one.date), ...SERIES.map(([name]) => one[name])]),
  };
  const keys = html`<ul class="chart-keys" aria-hidden="true">${SERIES.map(([, label], place) => html`<li class=${`key-${place}`}>${label}</li>`)}</ul>`;
  return html`<${Figure} heading="Day by day" keys=${keys} table=${table} chart=${html`<${Chart} data=${data} options=${dailyOptions} />`} />`;
}

const scale = (type) => (type === "nps" ? Array.from({ length: 11 }, (_, value) => value) : [1, 2, 3, 4, 5]);

function Ratings({ ratings, type }) {
  const data = useMemo(() => {
    const values = [...new Set([...scale(type), ...Object.keys(ratings).map(Number)])].sort((a, b) => a - b);
    return [values, values.map((value) => ratings[value] ?? 0)];
  }, [ratings, type]);
  const table = { caption: "How often each rating was given", head: ["Rating", "Times"], rows: data[0].map((value, place) => [value, data[1][place]]) };
  return html`<${Figure} heading="Ratings" table=${table} chart=${html`<${Chart} data=${data} options=${ratingOptions} />`} />`;
}

const SHARES = [
  ["Promoters", "9 or 10", (value) => value >= 9],
  ["Passives", "7 or 8", (value) => value > 6 && value < 9],
  ["Detractors", "0 to 6", (value) => value <= 6],
];

/** What the NPS is made of: the promoters less the detractors. */
function Score({ ratings, nps }) {
  const given = Object.entries(ratings).map(([value, times]) => [Number(value), times]);
  const sum = (belongs) => given.reduce((total, [value, times]) => total + (belongs(value) ? times : 0), 0);
  const all = sum(() => true);
  return html`<section class="card score">
    <h2>NPS ${Math.round(nps)}</h2>
    <dl>
      ${SHARES.map(([name, values, belongs]) => {
        const times = sum(belongs);
        return html`<div class=${name.toLowerCase()}>
          <dt>${name} <span class="hint">${values}</span></dt>
          <dd><meter min="0" max=${all} value=${times} aria-label=${name}></meter> <span>${percentage(times / all)} (${times.toLocaleString()})</span></dd>
        </div>`;
      })}
    </dl>
  </section>`;
}

function useStats(id, { first, last }) {
  const [state, setState] = useState({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const aborter = new AbortController();
    get(withQuery(`/api/widgets/${id}/stats`, { from: first, to: last, tz: zone }), { signal: aborter.signal })
      .then((stats) => setState({ stats }))
      .catch((problem) => aborter.signal.aborted || setState({ problem }));
    return () => aborter.abort();
  }, [id, first, last, attempt]);
  return { ...state, again: () => setAttempt(attempt + 1) };
}

const wordsOf = (problem) => Object.values(problem.errors).flat().join(" ") || problem.words;

export function Statistics({ id }) {
  const range = readRange(route.value.query);
  const { stats, problem, again } = useStats(id, range);
  const widget = findWidget(id);
  const isRated = stats && (["rating", "nps"].includes(widget?.type) || Object.keys(stats.ratings).length > 0);
  const back = { href: `/inbox/widgets/${id}`, name: widget?.name ?? "Widget" };
  return html`<${Page} heading="Statistics" back=${back}>
    <div class="stack" aria-busy=${!stats && !problem}>
      <${Range} range=${range} />
      ${problem && html`<div class="failed" role="alert"><p>${wordsOf(problem)}</p><button type="button" onClick=${again}>Try again</button></div>`}
      ${stats &&
      html`<${Totals} totals=${stats.totals} type=${widget?.type} />
        <${Daily} daily=${stats.daily} />
        ${isRated && html`<${Ratings} ratings=${stats.ratings} type=${widget?.type} />`}
        ${stats.totals.nps !== null && html`<${Score} ratings=${stats.ratings} nps=${stats.totals.nps} />`}
        <p class="hint">${counted(stats.daily.length, "day")} in the time zone ${stats.tz}.</p>`}
    </div>
  <//>`;
}
