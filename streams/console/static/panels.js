// The panels of the Loop view: which part of a scope each shows, and how.
import { brief, timeChart } from "./chart.js";
import { h, stamp } from "./dom.js";
import { facts, forceNotice, table } from "./parts.js";

const DECISIONS_SHOWN = 20;
const LONG = 12; // from here on a value does not fit a tile in large letters

const says = (text) => h("p", { class: "says" }, text);
const percent = (rate) => (rate === null ? "–" : `${(rate * 100).toFixed(rate < 0.1 ? 1 : 0)} %`);
const fixed = (digits) => (value) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const three = fixed(3);
const whole = (count) => count.toLocaleString("en");

/** `draw` puts a panel's content into its body and returns its charts; it is called where `pick` gives something else than before. */
export const PANELS = [
  { title: "At a glance", pick: (told) => [told.counts, told.loss.past, told.loss.target, told.override_rates, told.budget, told.alarms, told.in_force, told.model], draw: glance },
  { title: "Alignment loss", pick: (told) => told.loss, draw: loss },
  { title: "Overrides and budget", pick: (told) => [told.override_rates, told.budget], draw: overrides },
  { title: "Thresholds", pick: (told) => told.thresholds, draw: thresholds },
  { title: "Meta-monitor", pick: (told) => told.monitor, draw: monitor },
  { title: "Trust by source", pick: (told) => [told.sources, told.teams], draw: trust },
  { title: "Retrainings", pick: (told) => [told.retrainings, told.model], draw: retrainings },
];

function glance(body, _data, told) {
  const { past, target } = told.loss;
  const { answered } = told.override_rates;
  const decided = ["surfaced", "withheld", "blocked"].map((name) => [name, told.counts[name] ?? 0]);
  const tile = (name, value, note, tone = "") => h("div", { class: `tile ${tone}` }, h("dt", {}, name), h("dd", {}, h("b", { class: value.length > LONG ? "long" : null }, value), h("span", {}, note)));
  const above = past && target !== null && past.loss_low > target;
  const tiles = [
    tile("alignment loss", past ? three(past.loss) : "–", past ? `${three(past.loss_low)} to ${three(past.loss_high)}, target ${three(target)}` : "not known yet", above ? "bad" : ""),
    tile("overridden", percent(answered.rate), `${whole(answered.events)} of ${whole(answered.trials)} answered`),
    tile("override budget", told.budget ? fixed(1)(told.budget[told.budget.kind] ?? told.budget.trusted) : "–", budgetSays(told.budget), told.budget?.closed ? "bad" : ""),
    tile("decided", whole(decided.reduce((sum, [, count]) => sum + count, 0)), decided.map(([name, count]) => `${whole(count)} ${name}`).join(", ")),
    tile("model in force", told.model.id, told.model.time_ms === null ? told.model.says : `since ${stamp(told.model.time_ms)} UTC`),
  ];
  const forces = told.in_force.map(forceNotice);
  const alarms = told.alarms.map((each) => h("li", { class: "bad" }, h("b", {}, `Alarm ${each.name}`), ` since ${stamp(each.time_ms)} UTC: ${each.detail}`));
  const quiet = forces.length + alarms.length ? [h("div", { role: "status" }, h("ul", { class: "notices" }, ...forces, ...alarms))] : [says("No alarm is raised; nothing is commanded.")];
  body.replaceChildren(...quiet, h("dl", { class: "tiles" }, ...tiles), h("p", { class: "quiet" }, `Scope time ${stamp(told.clock_ms)} UTC`));
}

function budgetSays(budget) {
  if (!budget) return "not known yet";
  if (budget.kind === "off") return "counted, and stops nothing";
  return budget.closed ? `closed: ${budget.open} held by open ones` : `left, ${budget.open} held by open ones`;
}

function loss(body, data) {
  const { series, target } = data;
  if (!series.length) return body.replaceChildren(says(data.says), says(data.target_says));
  const figure = h("figure", {});
  body.replaceChildren(figure, says(data.target_says));
  const lines = [
    { name: "loss", values: series.map((each) => each.loss), colour: "chart-1", format: three },
    { name: "high end", values: series.map((each) => each.loss_high), colour: "chart-band", format: three, quiet: true },
    { name: "low end", values: series.map((each) => each.loss_low), colour: "chart-band", format: three, quiet: true },
    ...(target === null ? [] : [{ name: "target", values: series.map(() => target), colour: "chart-2", dash: [6, 4], format: three }]),
  ];
  return [timeChart(figure, {
    title: "Alignment loss by window, with its interval", says: data.says, times_ms: series.map((each) => each.time_ms), lines, band: [1, 2], range: (low, high) => [Math.min(0, low), high],
  })];
}

function overrides(body, [rates, budget]) {
  const named = { answered: "of the answered", surfaced: "of the surfaced", scenario: "of all scenarios" };
  const rows = Object.entries(named).map(([name, text]) => [text, whole(rates[name].events), whole(rates[name].trials), h("span", { class: "weight" }, percent(rates[name].rate), meter(rates[name].rate))]);
  const left = budget ? [h("h3", {}, "Budget"), says(budget.says), facts([["left, by trust", fixed(1)(budget.trusted)], ["left, every override counted", fixed(1)(budget.raw)], ["held by open recommendations", String(budget.open)]])] : [says("No override budget is published yet.")];
  body.replaceChildren(says(rates.says), table("Overridden recommendations, by what they are a share of", ["share", "overridden", "of", "rate"], rows), ...left);
}

function meter(rate) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${Math.min(1, rate ?? 0) * 100}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, fill);
}

function thresholds(body, data) {
  if (!data) return body.replaceChildren(says("No threshold table is published yet."));
  const rows = data.rows.map((each) => [
    h("span", { class: each.threshold === data.in_use ? "in-use" : null }, each.says), whole(each.overrides), whole(each.misses), `${whole(each.known)} of ${whole(each.surfaced)}`,
  ]);
  body.replaceChildren(says(data.says), table("What each threshold would have had", ["threshold", "overrides", "misses", "known of surfaced"], rows));
}

function trust(body, [sources, teams]) {
  const rows = sources.map((each) => [
    h("span", { class: "part" }, each.source, each.quarantined ? h("span", { class: "count alarm" }, "quarantined") : null, h("small", {}, each.says)),
    h("span", { class: "weight" }, each.weight.toFixed(2), meter(each.weight)),
  ]);
  const listed = sources.length ? table("Those who have answered, and how far each counts", ["source", "weight"], rows) : says("Nothing is known yet: trust is told at the end of each window.");
  body.replaceChildren(listed, ...(teams ? [h("h3", {}, "Teams"), says(teams.says)] : []));
}

function monitor(body, data) {
  const { decisions } = data;
  if (!decisions.length) return body.replaceChildren(says(data.says), says(data.fidelity_says));
  const figure = h("figure", {});
  const rows = decisions.slice(-DECISIONS_SHOWN).reverse().map((each) => [String(each.window), each.action, brief(each.statistic), brief(each.price), each.challenger ?? "–", each.reason]);
  const latest = h("details", { "data-name": "decisions" }, h("summary", {}, `its last ${rows.length} decisions`), table("Decisions of the meta-monitor", ["window", "did", "statistic", "price", "challenger", "why"], rows));
  body.replaceChildren(figure, latest, says(data.fidelity_says));
  return [timeChart(figure, {
    title: data.priced ? "Statistic of the meta-monitor against the price of a retraining, by window" : "Statistic of the meta-monitor, by window",
    says: data.says,
    times_ms: decisions.map((each) => each.time_ms),
    lines: [
      { name: "statistic", values: decisions.map((each) => each.statistic), colour: "chart-1" },
      ...(data.priced ? [{ name: "price", values: decisions.map((each) => each.price), colour: "chart-2", dash: [6, 4] }] : []),
    ],
    marks: decisions.filter((each) => each.action === "retrain").map((each) => ({ time_ms: each.time_ms })),
    range: (low, high) => [Math.min(0, low), high],
  })];
}

function retrainings(body, [results, model]) {
  const inForce = says(`In force is ${model.id}: ${model.says}`);
  if (!results.length) return body.replaceChildren(inForce, says("Nothing has been retrained yet."));
  const items = results.map((each) => h("li", {},
    h("span", { class: `status ${each.status}` }, each.status), " ", h("time", {}, `${stamp(each.time_ms)} UTC`), `, window ${each.window}`,
    h("p", {}, each.says),
    h("p", { class: "quiet" }, evaluated(each))));
  body.replaceChildren(inForce, h("ol", { class: "retrainings" }, ...items));
}

function evaluated({ evaluation, in_force }) {
  if (!evaluation) return `not evaluated against ${in_force}`;
  const numbers = [`${evaluation.judged} judged decisions`, `effective sample size ${brief(evaluation.effective_sample_size)}`, `the two differ on ${evaluation.differing}`];
  return `against ${in_force}: ${numbers.join(", ")}`;
}
