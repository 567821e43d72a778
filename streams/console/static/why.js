// Why one decision was surfaced, withheld or blocked, and what came of it: what `npo why` shows.
import { backoff_ms, events, get, stale } from "./api.js";
import { bar, brief, momentChart } from "./chart.js";
import { counted, h, stamp } from "./dom.js";
import { facts, section, table } from "./parts.js";

const DEBOUNCE_MS = 400;
const CLASS_MEAN = "class:"; // begins the names of features that are the class's means

/** The view of `/why/<id>`. */
export function view({ id }) {
  const element = h("article", { class: "why", "aria-busy": "true" }, h("p", {}, "Looking for the decision…"));
  const state = { stopped: false, timer: 0, cursor: null, stopStream: null, stopChart: null, reads: 0, failures: 0, shown: false };

  async function show() {
    state.reads += 1;
    const number = state.reads;
    const overtaken = () => state.stopped || number < state.reads;
    let told;
    try {
      // Where the stream begins: nothing that happens while the explanation is made may be missed.
      state.cursor ??= (await get("/scopes").catch(() => ({ cursor: null }))).cursor;
      told = await get(`/decisions/${encodeURIComponent(id)}/why`);
    } catch (problem) {
      if (!overtaken()) unread(problem);
      return;
    }
    if (overtaken()) return;
    state.failures = 0;
    state.shown = true;
    stale("");
    const chart = h("figure", { class: "moment" });
    const open = [...element.querySelectorAll("details[open]")].map((each) => each.dataset.name);
    element.replaceChildren(...sections(told, chart));
    element.setAttribute("aria-busy", "false");
    for (const each of element.querySelectorAll("details")) each.open = open.includes(each.dataset.name);
    const moment = await momentOf(told);
    if (overtaken()) return;
    state.stopChart?.();
    state.stopChart = momentChart(chart, moment, Infinity).stop;
    state.stopStream ??= events(["recommendation", "alignment"], told.scope, state.cursor, (message) => later(message, told));
  }

  /** What is shown stays, and is said to be old; it is read again unless there is no such decision. */
  function unread(problem) {
    const known = problem.status !== 404;
    if (state.shown && known) stale(problem.message);
    else element.replaceChildren(...failed(id, problem));
    element.setAttribute("aria-busy", "false");
    state.failures += 1;
    if (known) state.timer = setTimeout(show, backoff_ms(state.failures));
  }

  function later({ data }, told) {
    // Judgements are not in the stream: a summary of trust that comes after an answer may mean one.
    const concerns = !data?.event || data.event.id === told.decision || (data.event.kind === "trust" && !told.judged);
    if (!concerns || state.stopped) return;
    clearTimeout(state.timer);
    state.timer = setTimeout(show, DEBOUNCE_MS);
  }

  show();
  return {
    element,
    stop() {
      state.stopped = true;
      clearTimeout(state.timer);
      state.stopStream?.();
      state.stopChart?.();
    },
  };
}

async function momentOf(told) {
  try {
    return await get(`/decisions/${encodeURIComponent(told.decision)}/moment`);
  } catch {
    return { times_ms: [], metrics: {}, symptom_start_ms: null, usual: {} };
  }
}

function failed(id, problem) {
  return [
    h("h1", {}, "Why"),
    h("p", { class: "problem", role: "alert" }, problem.status === 404 ? `No decision ${id} is known. ` : "", problem.message),
    h("p", {}, h("a", { href: "/queue" }, "To the queue")),
  ];
}

function sections(told, chart) {
  return [
    h("header", { class: "why-head" },
      h("h1", {}, `${told.action.name} at ${told.entity}`),
      h("p", {}, h("span", { class: `status ${told.status}` }, told.status), " ", told.status_says, "."),
      h("p", { class: "permanent" }, "Decision ", h("a", { href: `/why/${encodeURIComponent(told.decision)}` }, h("code", {}, told.decision)), " · scope ", h("a", { href: `/loop/${encodeURIComponent(told.scope)}` }, told.scope), " · ", stamp(told.time_ms), " UTC")),
    section("What happened", h("p", {}, told.happened), chart, facts([
      ["class", told.scenario_class],
      ["seen", `${stamp(told.time_ms)} UTC`],
      ["decided", `${stamp(told.decided_ms)} UTC, in window ${told.window}`],
      ["proposed", told.action_says],
    ])),
    section("Why", h("p", { class: "lead" }, told.why), against(told)),
    section("Features and what they added", scored(told)),
    section("What the class had heard", h("p", {}, told.history_says), sources(told)),
    section("Draw and threshold", h("p", {}, told.draw_says), facts([
      ["confidence", told.score.confidence.toFixed(4)],
      ["drawn", told.draw === null ? "nothing" : told.draw.toFixed(4)],
      ["threshold", told.threshold.toFixed(4)],
      ["propensity", told.propensity.toFixed(4)],
    ])),
    section("Override budget", h("p", {}, told.budget_says), facts([
      ["left, by trust", told.budget.trusted.toFixed(1)],
      ["left, every override counted", told.budget.raw.toFixed(1)],
      ["held by open recommendations", String(told.budget.open)],
    ])),
    section("Safety policy", policy(told)),
    section("Made under", facts([
      ["model", `${told.model}: ${told.model_says}`],
      ...Object.entries(told.versions).filter(([name]) => name !== "model").sort(),
      ["positions", Object.entries(told.positions).sort().map((each) => each.join(" ")).join(", ")],
    ])),
    section("What came of it", h("p", { class: "lead" }, told.came_of_it), lived(told), judged(told)),
  ];
}

/** Confidence, what was drawn, and the threshold on one scale from 0 to 1. */
function against(told) {
  const drawn = told.selector === "posterior" && told.draw !== null;
  const marks = [["confidence", told.score.confidence], ...(drawn ? [["drawn", told.draw]] : []), ["threshold", told.threshold]];
  const places = marks.map(([name, value]) => {
    const mark = h("span", { class: `at ${name}` });
    mark.style.left = `${Math.min(1, Math.max(0, value)) * 100}%`;
    return mark;
  });
  const names = marks.map(([name, value]) => h("li", {}, h("span", { class: `swatch ${name}` }), `${name} `, h("b", {}, value.toFixed(3))));
  return h("div", { class: "against" }, h("div", { class: "scale", "aria-hidden": "true" }, ...places), h("ul", { class: "legend" }, ...names));
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
const own = (name) => (name.startsWith(CLASS_MEAN) ? name.slice(CLASS_MEAN.length) : name);

function scored(told) {
  const { score } = told;
  const values = { ...score.unweighted, ...Object.fromEntries(score.contributions.map((each) => [each.feature, each.value])) };
  const rows = [{ name: "intercept of the model", value: "", logit: score.intercept }, ...weighted(score, values)];
  if (score.kind !== "mean") {
    const deviation = score.offset_deviation === null ? "" : `± ${score.offset_deviation.toFixed(2)}`;
    rows.push({ name: "offset of the class", value: deviation, logit: score.offset });
  }
  const largest = Math.max(...rows.map((row) => Math.abs(row.logit)));
  const named = (row) => h("span", { class: "part" }, row.name, row.value ? h("small", {}, row.value) : null);
  const body = rows.map((row) => [named(row), signed(row.logit), bar(row.logit, largest)]);
  const together = [[`together: the logit of ${score.confidence.toFixed(3)}`, h("b", {}, signed(score.total)), ""]];
  const parts = h("div", { class: "contributions" }, table("Parts of the score, in logit", ["part", "logit", "around zero"], score.kind === "mean" ? body : [...body, ...together]));
  const note = `Confidence ${score.confidence.toFixed(3)} is one minus the running mean of the class's answers; what the model would add is shown and not in it.`;
  const rest = [...new Set(Object.keys(score.unweighted).map(own))].filter((name) => !score.contributions.some((each) => own(each.feature) === name)).sort();
  return h("div", {},
    ...(score.kind === "mean" ? [h("p", {}, note)] : []),
    parts,
    ...(rest.length ? [h("details", { "data-name": "unweighted" }, h("summary", {}, `${counted(rest.length, "feature")} without weight in this model`), h("p", { class: "quiet" }, rest.map((name) => `${name} ${valued(values, name)}`).join(", ")))] : []));
}

/** A row for each feature that the model weighs, or its class's mean: the logit is what both add together. */
function weighted(score, values) {
  const added = Object.fromEntries(score.contributions.map((each) => [each.feature, each.contribution]));
  return [...new Set(Object.keys(added).map(own))].map((name) => {
    const mean = added[CLASS_MEAN + name];
    const note = mean === undefined ? "" : `, which adds ${signed(mean)}`;
    return { name, value: valued(values, name, note), logit: (added[name] ?? 0) + (mean ?? 0) };
  });
}

function valued(values, name, note = "") {
  const mean = values[CLASS_MEAN + name];
  const value = values[name];
  return (value === undefined || value === null ? "" : brief(value)) + (mean === undefined || mean === null ? "" : ` (class mean ${brief(mean)}${note})`);
}

function sources(told) {
  if (!told.sources.length) return h("p", { class: "quiet" }, "No source had answered it.");
  const rows = told.sources.map((each) => [each.source, each.alpha.toFixed(2), each.beta.toFixed(2), signed(each.youden), each.weight.toFixed(2)]);
  return table("Trust in those who had answered it", ["source", "P(like | wanted)", "P(override | unwanted)", "J", "weight"], rows);
}

function policy(told) {
  const { verdict } = told;
  const says = verdict.allowed ? "Allowed: no rule denied it." : `Refused by ${verdict.rules.join(", ") || "no rule that is named"}.`;
  const error = verdict.error ? [h("p", { class: "problem" }, `Could not be judged: ${verdict.error}`)] : [];
  const rows = Object.entries(verdict.facts).sort().map(([name, value]) => [name, typeof value === "number" ? brief(value) : String(value)]);
  const listed = h("details", { "data-name": "facts" }, h("summary", {}, `${counted(rows.length, "fact")} that it was judged over`), table("Facts", ["fact", "value"], rows));
  return h("div", {}, h("p", {}, says), ...error, ...(rows.length ? [listed] : []));
}

function lived(told) {
  if (!told.life.length) return null;
  return h("ol", { class: "life" }, ...told.life.map((each) => h("li", {}, h("time", {}, `${stamp(each.time_ms)} UTC`), " ", h("b", {}, each.life), " ", each.says)));
}

function judged(told) {
  if (!told.judged?.answers.length) return null;
  const silenced = (answer) => answer.weight === 0 && answer.alpha + answer.beta - 1 > 0;
  const rows = told.judged.answers.map((each) => [
    each.source,
    each.team ?? "",
    each.kind,
    `${stamp(each.time_ms)} UTC`,
    `${each.weight.toFixed(2)}${silenced(each) ? " (in quarantine)" : ""}`,
    each.counted.toFixed(2),
    signed(each.moved),
    each.sequence ? String(each.sequence) : "none: nothing was learned",
  ]);
  return table("Its answers, and how far each moved the class", ["source", "team", "answer", "when", "weight", "counted", "moved", "answer of the class"], rows);
}
