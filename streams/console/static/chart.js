// Charts: uPlot in the page's colours, with a sentence for those who do not see them and the numbers as a table.
import uPlot from "./vendor/uPlot.esm.js";
import { clock, h, stamp } from "./dom.js";

const HEIGHT_PX = 220;
const SPARK_PX = 56;
const LABEL_PX = 75;
const ROWS_MAX = 200;

const shown = new Set();
const redrawAll = () => shown.forEach((redraw) => redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
new MutationObserver(redrawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });

/** A colour of views.css as the canvas takes it: `light-dark()` and the like are resolved by the browser. */
export function colour(name, element) {
  const before = element.style.color;
  element.style.color = `var(--${name})`;
  const resolved = getComputedStyle(element).color;
  element.style.color = before;
  return resolved;
}

/** A number as short as tells it: four significant digits, never an exponent for what people count. */
export function brief(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(2);
  return String(Number(value.toPrecision(size >= 1000 ? Math.max(4, Math.floor(Math.log10(size)) + 1) : 4)));
}

function canvasOf(box, options, data) {
  const plot = new uPlot({ ms: 1, tzDate: (time_ms) => uPlot.tzDate(new Date(time_ms), "UTC"), legend: { show: false }, ...options }, data, box);
  const redraw = () => plot.redraw(false, true);
  const fit = new ResizeObserver(() => {
    if (box.clientWidth > 0 && box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: options.height });
  });
  fit.observe(box);
  shown.add(redraw);
  return {
    plot,
    stop: () => {
      fit.disconnect();
      shown.delete(redraw);
      plot.destroy();
    },
  };
}

function verticals(marks, box) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = uPlot.pxRatio;
    for (const mark of marks) {
      const x = Math.round(plot.valToPos(mark.time_ms, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = colour(mark.colour ?? "chart-mark", box);
      ctx.setLineDash([3 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
}

function xSplits(plot, _axis, low, high, _step) {
  const count = Math.max(2, Math.floor(plot.width / LABEL_PX));
  const steps_ms = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200].map((minutes) => minutes * 60_000);
  const step_ms = steps_ms.find((each) => (high - low) / each <= count) ?? steps_ms.at(-1) * Math.ceil((high - low) / steps_ms.at(-1) / count);
  const splits = [];
  for (let at = Math.ceil(low / step_ms) * step_ms; at <= high; at += step_ms) splits.push(at);
  return splits;
}

const xLabels = (_plot, splits) => {
  const long = splits.length > 1 && splits.at(-1) - splits[0] >= 86_400_000 * 2;
  return splits.map((at) => (long ? new Date(at).toISOString().slice(5, 10) : clock(at)));
};

const axis = (box, more) => ({
  stroke: () => colour("chart-text", box),
  grid: { stroke: () => colour("chart-grid", box), width: 1 },
  ticks: { show: false },
  font: "12px system-ui, sans-serif",
  ...more,
});

function tableOf(chart) {
  const order = chart.times_ms.map((_, place) => place).slice(-ROWS_MAX).reverse();
  const cell = (line, place) => h("td", {}, (line.format ?? brief)(line.values[place]));
  const rows = order.map((place) => h("tr", {}, h("th", { scope: "row" }, stamp(chart.times_ms[place])), ...chart.lines.map((line) => cell(line, place))));
  const head = h("tr", {}, h("th", { scope: "col" }, "time (UTC)"), ...chart.lines.map((line) => h("th", { scope: "col" }, line.name)));
  return h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": `${chart.title}, numbers` }, h("table", { class: "numbers" }, h("thead", {}, head), h("tbody", {}, ...rows)));
}

/**
 * Draw lines over time.
 *
 * @param {HTMLElement} element where
 * @param {object} chart title; says: what the picture shows, as a sentence; times_ms; lines: [{name, values, colour, dash?, points?, width?,
 *   format?, quiet?}] (`quiet`: neither in the legend nor a line of its own); band: [upper, lower] places in `lines`;
 *   marks: [{time_ms, colour?}]; range: (low, high) -> [low, high]; height_px
 * @returns {{stop: function}}
 */
export function timeChart(element, chart) {
  const box = h("div", { class: "plot", role: "img", "aria-label": `${chart.title}. ${chart.says}` });
  const values = chart.lines.map(() => h("b", {}));
  const when = h("span", { class: "when" });
  const entries = chart.lines.map((line, place) => {
    const swatch = h("span", { class: `swatch ${line.colour}${line.dash ? " dashed" : ""}` });
    return line.quiet ? null : h("li", {}, swatch, `${line.name} `, values[place]);
  });
  const legend = h("ul", { class: "legend", "aria-hidden": "true" }, h("li", {}, when), ...entries.filter(Boolean));
  const details = h("details", { class: "as-table", "data-name": chart.title }, h("summary", {}, "the numbers"));
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(tableOf(chart)));
  element.replaceChildren(h("p", { class: "says" }, chart.says), legend, box, details);

  const read = (place) => {
    when.textContent = place === null ? "" : `${stamp(chart.times_ms[place])} UTC`;
    chart.lines.forEach((line, which) => {
      values[which].textContent = place === null ? "" : (line.format ?? brief)(line.values[place]);
    });
  };
  const last = chart.times_ms.length ? chart.times_ms.length - 1 : null;
  const series = chart.lines.map((line) => ({
    label: line.name,
    stroke: () => (line.quiet ? "transparent" : colour(line.colour, box)),
    width: line.width ?? 2,
    dash: line.dash,
    points: { show: chart.times_ms.length < 3 || line.points === true, size: 5, fill: () => colour(line.colour, box) },
  }));
  const height = chart.height_px ?? HEIGHT_PX;
  const { stop } = canvasOf(
    box,
    {
      width: box.clientWidth || 600,
      height,
      padding: [8, 12, 0, 0],
      series: [{}, ...series],
      bands: chart.band ? [{ series: [chart.band[0] + 1, chart.band[1] + 1], fill: () => colour("chart-band", box) }] : [],
      scales: { y: { range: (_plot, low, high) => around(low, high, chart.range) } },
      axes: [axis(box, { splits: xSplits, values: xLabels, size: 28 }), axis(box, { size: 52, values: (_plot, splits) => splits.map(brief) })],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      hooks: { draw: [verticals(chart.marks ?? [], box)], setCursor: [(plot) => read(plot.cursor.idx ?? last)] },
    },
    [chart.times_ms, ...chart.lines.map((line) => line.values)],
  );
  read(last);
  return { stop };
}

function around(low, high, range) {
  if (low === null || high === null) return [0, 1];
  const [least, most] = range ? range(low, high) : [low, high];
  const room = (most - least || Math.abs(most) || 1) * 0.06;
  return [range && least === 0 ? 0 : least - room, most + room];
}

/**
 * Draw the blamed metrics around a card's moment: one small picture a metric, each in its own unit, with its usual level.
 *
 * @param {HTMLElement} element where
 * @param {{times_ms: number[], metrics: Object<string, (number|null)[]>, symptom_start_ms: number, usual: Object<string, number>}} moment
 * @param {number} most how many metrics
 * @returns {{stop: function}}
 */
export function momentChart(element, moment, most = 3) {
  const names = Object.keys(moment.metrics).filter((name) => moment.metrics[name].some((value) => value !== null));
  if (!names.length || !moment.times_ms.length) {
    element.replaceChildren(h("p", { class: "says" }, "No telemetry of this moment is held any more."));
    return { stop: () => {} };
  }
  const plots = [];
  const parts = names.slice(0, most).map((name) => {
    const values = moment.metrics[name];
    const usual = moment.usual?.[name] ?? null;
    const says = sparkSays(name, values, usual, moment);
    const box = h("div", { class: "spark", role: "img", "aria-label": says });
    plots.push(() => spark(box, moment, values, usual));
    const numbers = h("span", {}, h("b", {}, brief(values.findLast((value) => value !== null))), usual === null ? "" : ` usually ${brief(usual)}`);
    return h("div", { class: "metric" }, h("div", { class: "metric-name" }, h("span", {}, name), numbers), box);
  });
  const more = names.length > most ? [h("p", { class: "says" }, `and ${names.length - most} more ${names.length - most === 1 ? "metric" : "metrics"}`)] : [];
  const span = `${clock(moment.times_ms[0])} to ${clock(moment.times_ms.at(-1))} UTC${since(moment)}`;
  element.replaceChildren(...parts, ...more, h("p", { class: "span" }, span));
  const drawn = plots.map((plot) => plot());
  return { stop: () => drawn.forEach((each) => each.stop()) };
}

function sparkSays(name, values, usual, moment) {
  const known = values.filter((value) => value !== null);
  const compared = usual === null ? "" : `, usually ${brief(usual)}`;
  return (
    `${name} from ${clock(moment.times_ms[0])} to ${clock(moment.times_ms.at(-1))} UTC: ` +
    `between ${brief(Math.min(...known))} and ${brief(Math.max(...known))}, last ${brief(known.at(-1))}${compared}${since(moment)}`
  );
}

const since = (moment) => (moment.symptom_start_ms === null ? "" : `, symptom since ${clock(moment.symptom_start_ms)}`);

function spark(box, moment, values, usual) {
  const line = { stroke: () => colour("chart-1", box), width: 1.5, points: { show: moment.times_ms.length < 3 } };
  const level = { stroke: () => colour("chart-quiet", box), width: 1, dash: [4, 3], points: { show: false } };
  return canvasOf(
    box,
    {
      width: box.clientWidth || 260,
      height: SPARK_PX,
      padding: [4, 2, 4, 2],
      series: [{}, level, line],
      scales: { y: { range: (_plot, low, high) => around(low, high) } },
      axes: [{ show: false }, { show: false }],
      cursor: { show: false },
      hooks: { draw: [verticals(moment.symptom_start_ms === null ? [] : [{ time_ms: moment.symptom_start_ms }], box)] },
    },
    [moment.times_ms, moment.times_ms.map(() => usual), values],
  );
}

/** A bar around zero, `value` of `largest` either way; the number beside it says the same. */
export function bar(value, largest) {
  const share = largest > 0 ? Math.min(1, Math.abs(value) / largest) * 50 : 0;
  const fill = h("span", { class: value < 0 ? "fill down" : "fill up" });
  fill.style.width = `${share}%`;
  fill.style.left = `${value < 0 ? 50 - share : 50}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}
