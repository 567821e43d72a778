// One card of the queue: what it shows, its buttons, and the reasons of an override.
import { mine, standing } from "./answers.js";
import { clock, counted, duration, h, share } from "./dom.js";

/** Reason codes of an override, by the key that picks them; they travel as they are, the words are the page's. */
export const REASONS = [
  ["not_a_problem", "Nothing is wrong"],
  ["planned_work", "Planned: release, batch, load test"],
  ["wrong_action", "Wrong action"],
  ["too_risky", "Too risky now"],
  ["fault_elsewhere", "The fault is elsewhere"],
  ["in_hand", "Already in hand"],
  ["not_ours", "Not ours to act on"],
  ["duplicate", "Same as another card"],
  ["other", "Other: see the note"],
];
const REASON_SAYS = Object.fromEntries(REASONS);
const BUTTONS = [
  ["override", "o", "Override"],
  ["like", "l", "Like"],
  ["neutral", "n", "Neutral"],
];
const DEED = { override: "override", like: "like", neutral: "neutral", retract: "taken back" };
// The worst of several hosts is what a card says.
const WORST = ["refused", "waiting", "sending", "accepted", "late", "counted"];
const SOON_MS = 15 * 60_000;
const NAMED_MAX = 4;

/**
 * Make a card's element.
 *
 * @param {object} item {card, recommendations: Map, gone, isNew}: what the queue knows of it
 * @param {object} acts {answer(kind), send(reason, note), leave(), one(id, kind)}: what its buttons do
 * @returns {{element, draw(context), chart, openForm(), closeForm(), form}}
 */
export function makeCard(item, acts) {
  const id = `card-${item.card.id}`;
  const parts = Object.fromEntries(["mark", "meta", "says", "chart", "action", "sure", "others", "own", "members"].map((name) => [name, h("div", { class: `card-${name}` })]));
  const title = h("h2", { id });
  const buttons = BUTTONS.map(([kind, key, says]) =>
    h("button", { type: "button", class: `answer ${kind}`, "data-kind": kind, onclick: () => acts.answer(kind), "aria-keyshortcuts": key, tabindex: -1 }, h("kbd", { "aria-hidden": "true" }, key), says),
  );
  const undo = h("button", { type: "button", class: "answer undo", onclick: () => acts.answer("retract"), "aria-keyshortcuts": "u", tabindex: -1, hidden: true }, h("kbd", { "aria-hidden": "true" }, "u"), "Undo");
  const why = h("a", { class: "why-link", href: `/why/${encodeURIComponent(item.card.id)}`, tabindex: -1 }, "Why", h("kbd", { "aria-hidden": "true" }, "↵"));
  const form = h("div", { class: "card-form" });
  const head = h("header", {}, title, parts.meta);
  const facts = h("div", { class: "card-facts" }, parts.action, parts.sure);
  const row = h("div", { class: "card-answers" }, ...buttons, undo, parts.own, why);
  const element = h("article", { class: "card", tabindex: -1, "aria-labelledby": id, "data-id": item.card.id }, parts.mark, head, parts.says, h("div", { class: "card-body" }, parts.chart, facts), parts.others, row, form, parts.members);
  const made = { element, title, parts, buttons, undo, why, form, chart: parts.chart, drawn: {} };
  return Object.assign(made, {
    draw: (context) => draw(made, item, context, acts),
    openForm: () => openForm(made, item, acts),
    closeForm: () => form.replaceChildren(),
  });
}

function part(made, name, signature, children) {
  const key = JSON.stringify(signature);
  if (made.drawn[name] === key) return;
  made.drawn[name] = key;
  const target = made.parts[name] ?? made[name];
  const reached = () => [...target.querySelectorAll("button, a, summary")];
  const focused = target.contains(document.activeElement) ? reached().indexOf(document.activeElement) : -1;
  target.replaceChildren(...children().filter(Boolean));
  if (focused >= 0) reached()[focused]?.focus({ preventScroll: true });
}

function draw(made, item, context, acts) {
  const { card } = item;
  const all = [...item.recommendations.values()];
  const now_ms = context.clocks_ms[card.scope] ?? 0;
  part(made, "title", card.title, () => [card.title]);
  part(made, "meta", [card.scope, card.opened_ms, due(card, now_ms), card.repeats], () => meta(card, now_ms));
  part(made, "says", card.says, () => [h("p", {}, capital(card.says))]);
  part(made, "action", [card.action, all.length], () => action(all[0].action, all.length));
  part(made, "sure", [card.confidence, card.threshold, card.like_says], () => sure(card));
  const cleared = card.cleared || all.every((each) => each.life === "cleared");
  const mark = item.gone || (cleared ? "Cleared: shows nothing unusual any more. It can still be answered." : "");
  part(made, "mark", mark, () => [mark && h("p", {}, mark)]);
  const said = others(all, context.operator);
  part(made, "others", said, () => said.map((each) => h("p", { class: "said" }, h("b", {}, each.operator), ` ${each.says}`)));
  const own = ownState(all, context.operator);
  const undo_ms = Number.isFinite(own.time_ms) ? own.time_ms + context.undo_window_ms - now_ms : 0;
  part(made, "own", [own, undo_ms], () => ownLine(own, undo_ms));
  part(made, "members", all.length > 1 ? [context.operator, all.map((each) => [each.id, standing(each, context.operator)?.kind])] : 0, () => (all.length > 1 ? [members(item, all, context.operator, acts)] : []));
  if (made.undo === document.activeElement && !own.kind) made.element.focus({ preventScroll: true });
  made.undo.hidden = !own.kind;
  for (const button of made.buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.kind === own.kind));
    button.disabled = !context.mayAnswer;
  }
  const { classList } = made.element;
  classList.toggle("done", Boolean(item.gone || own.kind));
  classList.toggle("cleared", cleared);
  made.element.dataset.state = own.state;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const due = (card, now_ms) => (now_ms > card.deadline_ms ? "deadline passed" : `answer within ${duration(card.deadline_ms - now_ms)}`);

function meta(card, now_ms) {
  const left_ms = card.deadline_ms - now_ms;
  return [
    h("span", {}, card.scope),
    h("span", {}, `since ${clock(card.opened_ms)}`),
    card.repeats ? h("span", {}, `${counted(card.repeats, "repeat")}`) : null,
    h("span", { class: left_ms < SOON_MS ? "due soon" : "due" }, due(card, now_ms)),
  ];
}

function action(proposed, number) {
  const each = number > 1 ? " each" : "";
  return [
    h("p", { class: "deed" }, h("b", {}, proposed.name), proposed.description ? h("span", {}, proposed.description) : null),
    h(
      "p",
      { class: "radius" },
      h("span", {}, `touches ${counted(proposed.blast_radius, "host")}${each}`),
      h("span", { class: proposed.reversible ? "" : "no-undo" }, proposed.reversible ? "can be undone" : "cannot be undone"),
    ),
  ];
}

function sure(card) {
  const bar = h("span", { class: "level", role: "img", "aria-label": `confidence ${share(card.confidence)}, threshold ${share(card.threshold)}` }, h("span", { class: "fill" }), h("span", { class: "tick" }));
  bar.children[0].style.width = `${100 * Math.min(1, card.confidence)}%`;
  bar.children[1].style.left = `${100 * Math.min(1, card.threshold)}%`;
  return [
    h("p", { class: "confidence" }, bar, h("span", {}, "confidence ", h("b", {}, share(card.confidence)), ` against ${share(card.threshold)}`)),
    h("p", { class: "like-says" }, capital(card.like_says)),
  ];
}

/** What other operators have answered, as `{operator, says}`, each once however many hosts the card has. */
function others(all, operator) {
  const found = new Map();
  for (const recommendation of all) {
    for (const each of recommendation.answers) {
      if (each.operator === operator || each.kind === "retract") continue;
      const key = `${each.operator} ${each.kind} ${each.reason}`;
      found.set(key, { ...each, times: (found.get(key)?.times ?? 0) + 1 });
    }
  }
  return [...found.values()].map((each) => {
    const reason = each.reason ? ` (${(REASON_SAYS[each.reason] ?? each.reason).toLowerCase()})` : "";
    const note = each.note ? `: “${each.note}”` : "";
    const some = each.times < all.length ? ` on ${each.times} of ${all.length}` : "";
    return { operator: each.operator, says: `says ${each.kind}${reason}${some}${note}` };
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
  const kinds = new Set(known.map(({ stands }) => stands?.kind ?? null));
  return {
    kind: kinds.size === 1 ? [...kinds][0] : "mixed",
    said: worst.own?.kind ?? worst.stands?.kind,
    reason: (worst.own ?? worst.stands)?.reason ?? null,
    state,
    detail: worst.own?.detail ?? "",
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
  late: () => "late: counts for trust only",
  refused: (own) => `refused: ${own.detail}`,
};

/** The words for what became of an answer. */
export function ownSays(own) {
  const some = own.number < own.of ? ` (${own.number} of ${counted(own.of, "host")})` : "";
  return `${STATE_SAYS[own.state](own)}${some}`;
}

function undoSays(own, undo_ms) {
  if (!own.kind || !["accepted", "counted"].includes(own.state) || own.closed) return "";
  return undo_ms > 0 ? `u takes it back: ${duration(undo_ms)} left` : "taught already; u counts for trust only";
}

function ownLine(own, undo_ms) {
  if (!own.state) return [];
  const reason = own.reason ? ` (${(REASON_SAYS[own.reason] ?? own.reason).toLowerCase()})` : "";
  const can = undoSays(own, undo_ms);
  return [
    h("p", { class: "state", "data-state": own.state }, h("span", { class: "dot", "aria-hidden": "true" }), h("b", {}, `You: ${DEED[own.said] ?? own.said}${reason}`), " ", h("span", { class: "became" }, ownSays(own)), can ? h("span", { class: "can" }, can) : null),
  ];
}

function members(item, all, operator, acts) {
  const says = Object.fromEntries(item.card.members.map((member) => [member.recommendation.id, member.says]));
  const rows = all.map((each) => {
    const stands = standing(each, operator)?.kind;
    const small = ["like", "neutral", "override"].map((kind) => h("button", { type: "button", class: "small", tabindex: -1, "aria-pressed": String(stands === kind), onclick: () => acts.one(each.id, kind) }, kind));
    return h("li", {}, h("span", { class: "host" }, h("b", {}, each.entity), " ", h("a", { href: `/why/${encodeURIComponent(each.id)}`, tabindex: -1 }, "why")), h("span", { class: "host-says" }, says[each.id] ?? ""), h("span", { class: "host-answers", role: "group", "aria-label": `Answer for ${each.entity} alone` }, small));
  });
  const names = all.slice(0, NAMED_MAX).map((each) => each.entity);
  const more = all.length > NAMED_MAX ? ` and ${all.length - NAMED_MAX} more` : "";
  const details = h("details", { open: item.open ?? false }, h("summary", { tabindex: -1 }, `One answer goes to ${counted(all.length, "host")}`, h("kbd", { "aria-hidden": "true" }, "m"), h("small", {}, names.join(", ") + more)), h("ul", {}, rows));
  details.addEventListener("toggle", () => {
    item.open = details.open;
  });
  return details;
}

function openForm(made, item, acts) {
  if (made.form.firstChild) return;
  const radios = REASONS.map(([code, says], place) => h("label", {}, h("input", { type: "radio", name: `reason-${item.card.id}`, value: code }), h("kbd", { "aria-hidden": "true" }, String(place + 1)), h("span", {}, says)));
  const note = h("input", { name: "note", maxlength: 4000, placeholder: "A note, if you like", "aria-label": "Note", autocomplete: "off" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h(
    "form",
    { class: "override-form", novalidate: true },
    h("fieldset", {}, h("legend", {}, `Why override ${item.card.action} on ${item.card.title}?`), h("div", { class: "reasons" }, radios)),
    note,
    wrong,
    h("div", { class: "form-buttons" }, h("button", { type: "submit", class: "primary" }, "Send override", h("kbd", { "aria-hidden": "true" }, "↵")), h("button", { type: "button", onclick: () => acts.leave() }, "Leave", h("kbd", { "aria-hidden": "true" }, "esc"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = form.querySelector("input[type=radio]:checked");
    if (chosen) acts.send(chosen.value, note.value.trim() || null);
    else {
      wrong.textContent = "Pick a reason first: keys 1 to 9.";
      radios[0].firstChild.focus();
    }
  });
  form.addEventListener("keydown", (event) => {
    const place = event.target === note || event.metaKey || event.ctrlKey || event.altKey ? -1 : "123456789".indexOf(event.key);
    if (event.key === "Escape") acts.leave();
    else if (event.key === "Enter" && event.target.type === "radio") form.requestSubmit();
    else if (place >= 0) {
      radios[place].firstChild.checked = true;
      radios[place].firstChild.focus();
      wrong.textContent = "";
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  made.form.replaceChildren(form);
  radios[0].firstChild.focus();
}
