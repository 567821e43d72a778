// What became of answers to a card: ours over all its hosts, and what other operators say.
import { mine, standing } from "./answers.js";
import { counted, duration, h } from "./dom.js";
import { inBrackets } from "./reasons.js";

const DEED = { override: "override", like: "like", neutral: "neutral", retract: "taken back" };
// The worst of several hosts is what a card says.
const WORST = ["refused", "waiting", "sending", "accepted", "late", "counted"];

/** What other operators have answered, as `{operator, says}`, each once however many hosts the card has. */
export function others(all, operator) {
  const found = new Map();
  for (const recommendation of all) {
    for (const each of recommendation.answers) {
      if (each.operator === operator || each.kind === "retract") continue;
      const key = `${each.operator} ${each.kind} ${each.reason}`;
      found.set(key, { ...each, times: (found.get(key)?.times ?? 0) + 1 });
    }
  }
  return [...found.values()].map((each) => {
    const note = each.note ? `: “${each.note}”` : "";
    const some = each.times < all.length ? ` on ${each.times} of ${all.length}` : "";
    return { operator: each.operator, says: `says ${each.kind}${inBrackets(each.reason)}${some}${note}` };
  });
}

/**
 * What became of our answer over all hosts of the card: the kind that stands, the worst state, of how many hosts, and `time_ms`
 * of the first answer that stands beside it: from then on the undo window runs.
 */
export function ownState(all, operator) {
  const known = all
    .map((each) => ({ own: mine(each.id, operator), stands: standing(each, operator), beside: each.answers }))
    .filter(({ own, stands }) => own || stands);
  if (!known.length) return { kind: null, state: "", detail: "", number: 0, of: all.length, time_ms: 0 };
  const states = known.map(({ own }) => own?.state ?? "counted");
  const state = WORST.find((each) => states.includes(each)) ?? states[0];
  const worst = known[states.indexOf(state)];
  const kinds = [...new Set(known.flatMap(({ stands }) => (stands ? [stands.kind] : [])))];
  return {
    kind: kinds.length > 1 ? "mixed" : (kinds[0] ?? null),
    said: worst.own?.kind ?? worst.stands?.kind,
    reason: (worst.own ?? worst.stands)?.reason ?? null,
    state,
    detail: worst.own?.detail ?? "",
    revision: (worst.own ?? worst.stands)?.revision ?? 1,
    closed: worst.own?.closed ?? false,
    number: states.filter((each) => each === state).length,
    of: all.length,
    time_ms: Math.min(...known.flatMap(({ own, stands, beside }) => [own ?? stands, ...beside].map((each) => each?.time_ms ?? Infinity))),
  };
}

const STATE_SAYS = {
  sending: () => "sending…",
  waiting: () => "kept in this browser; sent when the connection is back",
  accepted: (own) => (own.closed ? "accepted; it was closed already" : "accepted"),
  counted: () => "counted",
  late: (own) => (own.revision > 1 ? "late: logged, and changes nothing" : "late: counts for trust only"),
  refused: (own) => `refused: ${own.detail}`,
};

/** The words for what became of an answer. */
export function ownSays(own) {
  const some = own.number < own.of ? ` (${own.number} of ${counted(own.of, "host")})` : "";
  return `${STATE_SAYS[own.state](own)}${some}`;
}

function undoSays(own, undo_ms) {
  if (!own.kind || !["accepted", "counted"].includes(own.state) || own.closed) return "";
  return undo_ms > 0 ? `u takes it back: ${duration(undo_ms)} left` : "taught already: taking it back would change nothing";
}

/** The line that tells it. */
export function ownLine(own, undo_ms) {
  if (!own.state) return [];
  const can = undoSays(own, undo_ms);
  return [
    h(
      "p",
      { class: "state", "data-state": own.state },
      h("span", { class: "dot", "aria-hidden": "true" }),
      h("b", {}, `You: ${DEED[own.said] ?? own.said}${inBrackets(own.reason)}`),
      " ",
      h("span", { class: "became" }, ownSays(own)),
      can ? h("span", { class: "can" }, can) : null,
    ),
  ];
}
