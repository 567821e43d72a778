// The list of cards: each stays where it is while it changes, until the operator wants the list brought up to date.
import { forget, hear, unsettled } from "./answers.js";
import { ownState } from "./became.js";
import { makeCard } from "./card.js";
import { announce, clock, counted, h } from "./dom.js";
import { may, operator, session } from "./session.js";

const FIRST_CARDS = 20;

/**
 * Show the queue: the first cards are there at once; the others follow while the page is already of use. What an earlier visit has left
 * is put in: a card in its place, and into a card that is there the hosts that the server no longer lists.
 */
export function begin(queue, left) {
  context(queue);
  const items = queue.told.cards.map((card) => itemOf(queue, card));
  for (const { place, card, recommendations } of left) {
    const listed = recommendations.map(([id]) => queue.byDecision.get(id)).find(Boolean);
    const item = listed ?? itemOf(queue, card, new Map(recommendations));
    for (const [id, each] of recommendations) {
      if (queue.byDecision.has(id)) continue;
      item.recommendations.set(id, item.recommendations.get(id) ?? each);
      queue.byDecision.set(id, item);
    }
    if (listed) continue;
    item.absent = true;
    items.splice(place, 0, item);
  }
  queue.items = items;
  const later = (from) => {
    if (queue.stopped || queue.items !== items) return;
    place(queue, from, from + FIRST_CARDS);
    if (from + FIRST_CARDS < items.length) setTimeout(later, 0, from + FIRST_CARDS);
  };
  later(0);
  rove(queue);
  drawHead(queue);
}

/** Put cards where they belong, and move none that is there already: what has the focus keeps it. */
function place(queue, from, to) {
  queue.items.slice(from, to).forEach((item, index) => {
    const { element } = item.made;
    const there = queue.list.children[from + index] ?? null;
    if (there !== element) queue.list.insertBefore(element, there);
    element.setAttribute("aria-posinset", String(from + index + 1));
    element.setAttribute("aria-setsize", String(queue.items.length));
    draw(queue, item);
    queue.charts.watch(item);
  });
}

function itemOf(queue, card, recommendations = new Map()) {
  const held = card.members.map((member) => queue.byDecision.get(member.recommendation.id)).find(Boolean);
  if (held) return held;
  const item = { card, recommendations, gone: "", hint: "", absent: false, done: false };
  renew(queue, item, card);
  let made = null;
  // Made when it is placed: five hundred cards at once would keep the first from being seen.
  Object.defineProperty(item, "made", { get: () => (made ??= madeOf(queue, item)) });
  return item;
}

/** Take a card as the server tells it anew. */
export function renew(queue, item, card) {
  item.card = { ...card, id: item.card.id };
  for (const { recommendation } of card.members) {
    const held = item.recommendations.get(recommendation.id);
    if (!held || newer(recommendation, held)) {
      item.recommendations.set(recommendation.id, recommendation);
      hear(recommendation);
    }
    queue.byDecision.set(recommendation.id, item);
  }
}

/** Whether a moment of a recommendation is no earlier than another. */
export function newer(told, held) {
  if (!held) return true;
  const place = (each) => Object.values(each.positions).reduce((sum, position) => sum + position, 0);
  return told.time_ms > held.time_ms || (told.time_ms === held.time_ms && place(told) >= place(held));
}

function madeOf(queue, item) {
  const made = makeCard(item, queue.acts(item));
  made.element.addEventListener("focusin", () => select(queue, item, { focus: false }));
  return made;
}

/** Bring the list up to date: new cards in their place, done ones away; the selected card stays under the eye. */
export function bringUp(queue, { asked = true } = {}) {
  const anchor = queue.selected?.made.element;
  const top = anchor?.getBoundingClientRect().top;
  const inList = queue.list.contains(document.activeElement);
  context(queue);
  const wanted = new Set(queue.told.cards.map((card) => itemOf(queue, card)));
  const stays = (item) => item === queue.form || (asked ? isUnsettled(queue, item) : isSettling(queue, item));
  const over = queue.items.filter((item) => !wanted.has(item) || item.done);
  const kept = over.filter(stays);
  const gone = over.filter((item) => !stays(item));
  for (const item of gone) putAway(queue, item);
  queue.fresh = [];
  queue.items = [...[...wanted].filter((item) => !gone.includes(item) && !kept.includes(item)), ...kept];
  if (!queue.items.includes(queue.selected)) queue.selected = null;
  place(queue, 0, queue.items.length);
  rove(queue);
  drawHead(queue);
  if (inList && !queue.list.contains(document.activeElement) && queue.items.length) select(queue, queue.selected ?? queue.items[0]);
  if (anchor?.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top);
}

const isUnsettled = (queue, item) => [...item.recommendations.keys()].some((id) => unsettled(id, queue.context.operator));

/** Whether an answer to a card is on its way still, or can be taken back before it teaches. */
export function isSettling(queue, item) {
  const own = ownState([...item.recommendations.values()], queue.context.operator);
  const undoable = own.kind !== null && own.time_ms + queue.context.undo_window_ms > (queue.clocks_ms[item.card.scope] ?? 0);
  return undoable || isUnsettled(queue, item);
}

function putAway(queue, item) {
  queue.charts.unwatch(item);
  item.made.element.remove();
  for (const id of item.recommendations.keys()) {
    queue.byDecision.delete(id);
    forget(id);
  }
}

/** What cards are drawn by, besides what they hold. */
export function context(queue) {
  const { clocks_ms, told } = queue;
  queue.context = { operator: operator(), mayAnswer: may("operator") || !session.me, clocks_ms, undo_window_ms: told.undo_window_ms };
}

/** Draw a card now; one that cannot be drawn keeps no other from it. */
function draw(queue, item) {
  try {
    item.made.draw(queue.context);
  } catch (problem) {
    console.error(problem);
    item.made.drawPlain();
  }
}

/** Draw a card with the next frame. */
export function drawSoon(queue, item) {
  queue.due ??= new Set();
  if (queue.due.size === 0) {
    requestAnimationFrame(() => {
      if (queue.stopped) return;
      const due = [...queue.due];
      queue.due.clear();
      for (const each of due) {
        draw(queue, each);
        if (each === queue.reached) reachable(each, 0);
      }
      drawHead(queue);
    });
  }
  queue.due.add(item);
}

/** Draw what stands above the list. */
export function drawHead(queue) {
  const open = queue.items.filter((item) => !item.done).length;
  const done = queue.items.length - open;
  queue.head.count.textContent = open ? `${counted(open, "card")} to answer` : "Nothing to answer";
  const parts = [queue.fresh.length ? `${queue.fresh.length} new` : "", done ? `${done} done` : ""].filter(Boolean);
  queue.head.fresh.hidden = !parts.length;
  queue.head.fresh.classList.toggle("news", queue.fresh.length > 0);
  const words = `${parts.join(", ")} · ${queue.fresh.length ? "show" : "put away"}`;
  if (queue.head.fresh.dataset.words !== words) {
    queue.head.fresh.dataset.words = words;
    queue.head.fresh.replaceChildren(words, h("kbd", { "aria-hidden": "true" }, "r"));
    if (queue.fresh.length) announce(`${counted(queue.fresh.length, "new card")}; key r shows them`);
  }
  queue.empty.hidden = queue.items.length > 0 || queue.fresh.length > 0;
  document.title = `${open ? `(${open}) ` : ""}Queue · NPO`;
  if (queue.empty.hidden) return;
  const times = Object.entries(queue.clocks_ms).map(([scope, time_ms]) => `${scope} stands at ${clock(time_ms)} UTC`);
  const says = times.length ? `New recommendations appear here by themselves; ${times.join(", ")}.` : "No telemetry has come yet.";
  queue.empty.replaceChildren(h("p", { class: "calm" }, "Nothing waits for an answer."), h("p", {}, says));
}

/** Select a card: keys are about it. */
export function select(queue, item, { focus = true } = {}) {
  if (queue.selected !== item) {
    queue.selected?.made.element.classList.remove("selected");
    queue.selected = item;
    item.made.element.classList.add("selected");
    rove(queue);
  }
  if (focus) {
    item.made.element.focus({ preventScroll: true });
    item.made.element.scrollIntoView({ block: "nearest" });
  }
}

/** One card takes part in the order of Tab: the selected one, with its buttons. */
function rove(queue) {
  const reached = queue.selected ?? queue.items[0];
  if (queue.reached !== reached) queue.reached && reachable(queue.reached, -1);
  queue.reached = reached;
  if (reached) reachable(reached, 0);
}

function reachable(item, tabindex) {
  item.made.element.tabIndex = tabindex;
  for (const each of item.made.element.querySelectorAll(
    ".card-answers button, .card-answers a, .card-members button, .card-members a, .card-members summary",
  ))
    each.tabIndex = tabindex;
}
