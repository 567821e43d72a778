// One card of the queue: what it shows, and its buttons.
import { standing } from "./answers.js";
import { others, ownLine, ownState } from "./became.js";
import { clock, counted, duration, h, share } from "./dom.js";
import { openForm } from "./reasons.js";

const BUTTONS = [
  ["override", "o", "Override"],
  ["like", "l", "Like"],
  ["neutral", "n", "Neutral"],
];
const SOON_MS = 15 * 60_000;
const NAMED_MAX = 4;

const isClosed = (recommendation) => recommendation.life === "expired" || recommendation.late;

/** The recommendations that an answer to the card goes to: the open ones, and all of them where none is open. */
export function answerable(item) {
  const all = [...item.recommendations.values()];
  const open = all.filter((each) => !isClosed(each));
  return open.length ? open : all;
}

/**
 * Make a card's element.
 *
 * @param {object} item {card, recommendations: Map, gone, hint}: what the queue knows of it
 * @param {object} acts {answer(kind), send(reason, note), leave(), one(id, kind)}: what its buttons do
 * @returns {{element, draw(context), drawPlain(), chart, openForm(), closeForm(), form}}
 */
export function makeCard(item, acts) {
  const id = `card-${item.card.id}`;
  const parts = Object.fromEntries(
    ["meta", "says", "chart", "action", "sure", "mark", "hint", "own", "others", "members"].map((name) => [
      name,
      h("div", { class: `card-${name}` }),
    ]),
  );
  const title = h("h2", { id });
  const buttons = BUTTONS.map(([kind, key, says]) =>
    h(
      "button",
      {
        type: "button",
        class: `answer ${kind}`,
        "data-kind": kind,
        onclick: () => acts.answer(kind),
        "aria-keyshortcuts": key,
        tabindex: -1,
      },
      h("kbd", { "aria-hidden": "true" }, key),
      says,
    ),
  );
  const undo = h(
    "button",
    { type: "button", class: "answer undo", onclick: () => acts.answer("retract"), "aria-keyshortcuts": "u", tabindex: -1, hidden: true },
    h("kbd", { "aria-hidden": "true" }, "u"),
    "Undo",
  );
  const why = h(
    "a",
    { class: "why-link", href: `/why/${encodeURIComponent(item.card.id)}`, tabindex: -1 },
    "Why",
    h("kbd", { "aria-hidden": "true" }, "↵"),
  );
  const form = h("div", { class: "card-form" });
  const head = h("header", {}, title, parts.meta);
  const facts = h("div", { class: "card-facts" }, parts.action, parts.sure);
  const row = h(
    "div",
    { class: "card-answers" },
    ...buttons,
    undo,
    h("div", { class: "card-became" }, parts.own, parts.others, parts.mark, parts.hint),
    why,
  );
  const element = h(
    "article",
    { class: "card", tabindex: -1, "aria-labelledby": id, "data-id": item.card.id },
    head,
    parts.says,
    h("div", { class: "card-body" }, parts.chart, facts),
    row,
    form,
    parts.members,
  );
  const made = { element, title, parts, buttons, undo, why, form, chart: parts.chart, drawn: {} };
  return Object.assign(made, {
    draw: (context) => draw(made, item, context, acts),
    drawPlain: () => drawPlain(made, item),
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
  const reached = answerable(item);
  const now_ms = context.clocks_ms[card.scope] ?? 0;
  part(made, "title", card.title, () => [card.title]);
  part(made, "meta", [card.scope, card.opened_ms, due(card, now_ms), card.repeats], () => meta(card, now_ms));
  part(made, "says", card.says, () => [h("p", {}, capital(card.says))]);
  part(made, "action", [card.action, reached.length], () => action(all[0].action, reached.length));
  part(made, "sure", [card.confidence, card.threshold, card.like_says], () => sure(card));
  const cleared = card.cleared || reached.every((each) => each.life === "cleared");
  const mark = item.gone || (cleared ? "Cleared: shows nothing unusual any more. It can still be answered." : "");
  part(made, "mark", mark, () => [mark && h("p", {}, mark)]);
  part(made, "hint", item.hint, () => [item.hint && h("p", {}, item.hint)]);
  const said = others(all, context.operator);
  part(made, "others", said, () => said.map((each) => h("p", { class: "said" }, h("b", {}, each.operator), ` ${each.says}`)));
  const own = ownState(reached, context.operator);
  const undo_ms = Number.isFinite(own.time_ms) ? own.time_ms + context.undo_window_ms - now_ms : 0;
  part(made, "own", [own, undo_ms], () => ownLine(own, undo_ms));
  part(
    made,
    "members",
    all.length > 1 ? [context.operator, all.map((each) => [each.id, isClosed(each), standing(each, context.operator)?.kind])] : 0,
    () => (all.length > 1 ? [members(item, all, context.operator, acts)] : []),
  );
  if (made.undo === document.activeElement && !own.kind) made.element.focus({ preventScroll: true });
  made.undo.hidden = !own.kind;
  for (const button of made.buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.kind === own.kind));
    button.disabled = !context.mayAnswer;
  }
  const { classList } = made.element;
  const isAnswered = (each) =>
    standing(each, context.operator) || each.answers.some((answer) => answer.operator !== context.operator && answer.kind !== "retract");
  item.done = Boolean(item.gone || (own.kind && reached.every(isAnswered)));
  classList.toggle("done", item.done);
  classList.toggle("cleared", cleared);
  made.element.dataset.state = own.state;
}

/** What a card shows where it cannot be drawn: what it is about, and the way to all that is known of it. */
function drawPlain(made, item) {
  made.drawn = {};
  made.title.textContent = item.card.title;
  made.parts.mark.replaceChildren(h("p", {}, "This card could not be shown in full; Why tells the rest."));
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
  const bar = h(
    "span",
    { class: "level", role: "img", "aria-label": `confidence ${share(card.confidence)}, threshold ${share(card.threshold)}` },
    h("span", { class: "fill" }),
    h("span", { class: "tick" }),
  );
  bar.children[0].style.width = `${100 * Math.min(1, card.confidence)}%`;
  bar.children[1].style.left = `${100 * Math.min(1, card.threshold)}%`;
  return [
    h(
      "p",
      { class: "confidence" },
      bar,
      h("span", {}, "confidence ", h("b", {}, share(card.confidence)), ` against ${share(card.threshold)}`),
    ),
    h("p", { class: "like-says" }, capital(card.like_says)),
  ];
}

function members(item, all, operator, acts) {
  const says = Object.fromEntries(item.card.members.map((member) => [member.recommendation.id, member.says]));
  const rows = all.map((each) => {
    const stands = standing(each, operator)?.kind;
    const small = ["like", "neutral", "override"].map((kind) =>
      h(
        "button",
        { type: "button", class: "small", tabindex: -1, "aria-pressed": String(stands === kind), onclick: () => acts.one(each.id, kind) },
        kind,
      ),
    );
    return h(
      "li",
      {},
      h(
        "span",
        { class: "host" },
        h("b", {}, each.entity),
        " ",
        h("a", { href: `/why/${encodeURIComponent(each.id)}`, tabindex: -1 }, "why"),
      ),
      h("span", { class: "host-says" }, isClosed(each) ? `closed; ${says[each.id] ?? ""}` : (says[each.id] ?? "")),
      h("span", { class: "host-answers", role: "group", "aria-label": `Answer for ${each.entity} alone` }, small),
    );
  });
  const reached = answerable(item);
  const names = reached.slice(0, NAMED_MAX).map((each) => each.entity);
  const more = reached.length > NAMED_MAX ? ` and ${reached.length - NAMED_MAX} more` : "";
  const details = h(
    "details",
    { open: item.open ?? false },
    h(
      "summary",
      { tabindex: -1 },
      `One answer goes to ${counted(reached.length, "host")}`,
      h("kbd", { "aria-hidden": "true" }, "m"),
      h("small", {}, names.join(", ") + more),
    ),
    h("ul", {}, rows),
  );
  details.addEventListener("toggle", () => {
    item.open = details.open;
  });
  return details;
}
