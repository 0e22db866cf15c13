// Charts by uPlot, which is loaded when the first one is drawn.
import { html, useEffect, useRef, useState } from "../html.js";

const VENDOR = new URL("../../vendor/uplot/", import.meta.url);
const HEIGHT = 260;

function style() {
  const href = new URL("uPlot.css", VENDOR).href;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  document.head.append(link);
  return new Promise((resolve) => (link.onload = link.onerror = resolve));
}

const load = () => Promise.all([import("../../vendor/uplot/uPlot.js"), style()]).then(([module]) => module.default);

/** The colours of the page, by the names of their properties: a canvas has no style sheet. */
function colors(element) {
  const style = getComputedStyle(element);
  return (name) => style.getPropertyValue(name).trim();
}

function axisOf(color) {
  const line = { stroke: color("--line"), width: 1 };
  return { stroke: color("--quiet"), grid: line, ticks: line };
}

/**
 * A chart. `data` is uPlot's: the places on the x axis, then a list of values a series; `options(color, axis, uPlot)` gives what is
 * particular to this chart. It is drawn again with another width and when day turns into night. It is hidden from screen readers: a
 * table has the same numbers.
 */
export function Chart({ data, options }) {
  const box = useRef(null);
  const [uPlot, setUPlot] = useState(null);
  useEffect(() => {
    load().then((loaded) => setUPlot(() => loaded), () => {});
  }, []);
  useEffect(() => {
    if (!uPlot) return;
    const night = matchMedia("(prefers-color-scheme: dark)");
    let chart;
    const draw = () => {
      chart?.destroy();
      const color = colors(box.current);
      const size = { width: box.current.clientWidth, height: HEIGHT };
      const quiet = { legend: { show: false }, cursor: { drag: { x: false, y: false } } };
      chart = new uPlot({ ...size, ...quiet, ...options(color, axisOf(color), uPlot) }, data, box.current);
    };
    draw();
    const observer = new ResizeObserver(([{ contentRect }]) => chart.setSize({ width: contentRect.width, height: HEIGHT }));
    observer.observe(box.current);
    night.addEventListener("change", draw);
    return () => {
      observer.disconnect();
      night.removeEventListener("change", draw);
      chart.destroy();
    };
  }, [uPlot, data, options]);
  return html`<div class="chart" ref=${box} aria-hidden="true"></div>`;
}
