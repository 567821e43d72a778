// The queue: open recommendations as cards, kept where they are while they change; answers by key or button.
import { answers, forget, give, hear, hearRefused, mine, standing } from "./answers.js";
import { connection, events, get } from "./api.js";
import { makeCard, ownSays, ownState } from "./card.js";
import { charts } from "./cardcharts.js";
import { announce, clock, counted, h, takesText } from "./dom.js";
import { may, nameSelf, operator, session } from "./session.js";

const AGAIN_MS = 400;
// Clocks and deadlines move where nothing else does.
const EVERY_MS = 20_000;
// Nobody is at the page: what is new comes by itself.
const IDLE_MS = 30_000;
const FIRST_CARDS = 20;
const KEYS = [
  ["j ↓", "next card"],
  ["k ↑", "card before"],
  ["l", "like: this was wanted"],
  ["o", "override: this was unwanted; then 1 to 9 for the reason, Enter sends, Escape leaves"],
  ["n", "neutral"],
  ["u", "undo: take your answer back"],
  ["m", "the hosts of a card, to answer for one alone"],
  ["Enter", "why it was surfaced"],
  ["r", "bring the list up to date: new cards in, done ones away"],
];

/** The queue: of the scope that the query names, else of all. */
export async function view(params) {
  const scope = params.scope ?? null;
  const queue = { scope, items: [], fresh: [], byDecision: new Map(), context: {}, clocks_ms: {}, selected: null, active_ms: Date.now(), stops: [] };
  queue.list = h("div", { class: "cards", role: "feed", "aria-label": "Open recommendations", "aria-busy": "false" });
  queue.head = { count: h("h1", {}), fresh: h("button", { type: "button", class: "fresh", hidden: true, onclick: () => bringUp(queue) }), scopes: h("select", { "aria-label": "Scope" }) };
  queue.empty = h("div", { class: "empty", hidden: true });
  const element = h("section", { class: "queue" }, h("div", { class: "queue-head" }, queue.head.count, queue.head.scopes, queue.head.fresh), queue.empty, queue.list);
  queue.charts = charts();
  take(queue, await get(path(queue)));
  begin(queue);
  listen(queue);
  follow(queue);
  return { element, title: "Queue", keys: KEYS, stop: () => stop(queue) };
}

const path = (queue, after) => `/queue?${new URLSearchParams({ ...(queue.scope ? { scope: queue.scope } : {}), ...(after ? { after } : {}) })}`;

function stop(queue) {
  queue.stopped = true;
  clearTimeout(queue.refresh_timer);
  queue.stops.forEach((each) => each());
  queue.charts.stop();
}

// What the server tells.

function take(queue, told) {
  queue.told = told;
  for (const [scope, time_ms] of Object.entries(told.clocks_ms)) tick(queue, scope, time_ms);
  const { length } = queue.head.scopes;
  const scopes = Object.keys(queue.clocks_ms).sort();
  if (length !== scopes.length + 1) {
    queue.head.scopes.replaceChildren(...["", ...scopes].map((name) => h("option", { value: name, selected: name === (queue.scope ?? "") }, name || "all scopes")));
  }
}

function tick(queue, scope, time_ms) {
  queue.clocks_ms[scope] = Math.max(time_ms, queue.clocks_ms[scope] ?? 0);
}

function follow(queue) {
  queue.unfollow?.();
  queue.unfollow = events(["recommendation", "refused"], queue.scope, queue.told.cursor, (message) => {
    if (message.event === "recommendation") heard(queue, message.data.event, message.id);
    else if (message.event === "refused") hearRefused(message.data.event);
    else if (message.event === "reset") reset(queue);
  });
}

/** The log no longer holds what followed: everything is read anew, and cards that are gone are marked. */
async function reset(queue) {
  announce("Too much has happened since; the queue is read anew.");
  await refresh(queue);
  follow(queue);
}

function heard(queue, recommendation, cursor) {
  tick(queue, recommendation.scope, recommendation.time_ms);
  const item = queue.byDecision.get(recommendation.id);
  const before = item?.recommendations.get(recommendation.id);
  hear(recommendation);
  if (item && newer(recommendation, before)) {
    item.recommendations.set(recommendation.id, recommendation);
    tellOthers(queue, item, before, recommendation);
    mark(queue, item);
    drawSoon(queue, item);
  }
  // Cards are made by the server: what changes which there are is read from it.
  if (!item || recommendation.life !== "answered") refreshSoon(queue, cursor);
  drawHead(queue);
}

function newer(told, held) {
  if (!held) return true;
  const place = (each) => Object.values(each.positions).reduce((sum, position) => sum + position, 0);
  return told.time_ms > held.time_ms || (told.time_ms === held.time_ms && place(told) >= place(held));
}

function tellOthers(queue, item, before, now) {
  const me = queue.context.operator;
  const known = new Set((before?.answers ?? []).map((each) => `${each.operator} ${each.revision}`));
  for (const each of now.answers) {
    if (each.operator !== me && !known.has(`${each.operator} ${each.revision}`)) announce(`${each.operator} says ${each.kind} to ${item.card.title}`);
  }
}

function refreshSoon(queue, cursor) {
  queue.after = cursor;
  queue.refresh_timer ??= setTimeout(async () => {
    await refresh(queue);
    queue.refresh_timer = null;
    if (queue.after && !queue.stopped) refreshSoon(queue, queue.after);
  }, Math.max(AGAIN_MS, 3 * (queue.took_ms ?? 0)));
}

async function refresh(queue) {
  const { after } = queue;
  queue.after = null;
  const began = performance.now();
  try {
    const told = await get(path(queue, after));
    if (queue.stopped) return;
    take(queue, told);
    context(queue);
    reconcile(queue, told.cards);
  } catch {
    // The banner tells of the connection; the next event asks again.
  }
  queue.took_ms = performance.now() - began;
}

/** Update the cards that are shown, mark those that the server no longer has, and keep new ones until they are wanted. */
function reconcile(queue, cards) {
  const present = new Set();
  queue.fresh = [];
  for (const card of cards) {
    const ids = card.members.map((member) => member.recommendation.id);
    const item = ids.map((id) => queue.byDecision.get(id)).find((each) => each && !present.has(each));
    if (item) {
      present.add(item);
      Object.assign(item, { absent: false, asked: false });
      renew(queue, item, card);
    } else queue.fresh.push(card);
  }
  for (const item of queue.items) if (!present.has(item)) item.absent = true;
  queue.items.forEach((item) => mark(queue, item));
  queue.items.forEach((item) => item.absent && !item.asked && !item.gone && !ownState([...item.recommendations.values()], queue.context.operator).kind && ask(queue, item));
  queue.items.forEach((item) => drawSoon(queue, item));
  if (!queue.items.length || (Date.now() - queue.active_ms > IDLE_MS && !queue.form)) bringUp(queue, { asked: false });
  drawHead(queue);
}

function renew(queue, item, card) {
  item.card = { ...card, id: item.card.id };
  for (const { recommendation } of card.members) {
    const held = item.recommendations.get(recommendation.id);
    if (!held || newer(recommendation, held)) item.recommendations.set(recommendation.id, recommendation);
    queue.byDecision.set(recommendation.id, item);
  }
}

/** A card that the server no longer has, and the page does not know why: the recommendation tells. */
async function ask(queue, item) {
  item.asked = true;
  try {
    const told = await get(`/recommendations/${encodeURIComponent(item.card.id)}`);
    item.recommendations.set(told.id, told);
    hear(told);
  } catch {
    // Marked without a reason.
  }
  mark(queue, item);
  drawSoon(queue, item);
}

/** Say of a card that it is closed, or that others have answered it, and why. */
function mark(queue, item) {
  const all = [...item.recommendations.values()];
  const me = queue.context.operator;
  const closed = all.every((each) => each.life === "expired" || each.late);
  const by = new Set(all.flatMap((each) => each.answers.filter((answer) => answer.operator !== me && answer.kind !== "retract").map((answer) => answer.operator)));
  const answered = all.every((each) => each.answers.some((answer) => answer.kind !== "retract"));
  const own = ownState(all, me);
  if (closed) item.gone = "Closed: nobody answered in time. An answer now counts for trust only.";
  else if (answered && by.size && !own.kind) item.gone = `Answered meanwhile by ${[...by].join(" and ")}. You can still say otherwise.`;
  else if (item.absent && item.asked && !own.kind && !answered) item.gone = "No longer open.";
  else item.gone = "";
}

// What is shown.

/** The first cards are there at once; the others follow while the page is already of use. */
function begin(queue) {
  context(queue);
  const items = queue.told.cards.map((card) => itemOf(queue, card));
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
    item.made.draw(queue.context);
    queue.charts.watch(item);
  });
}

function itemOf(queue, card) {
  const held = card.members.map((member) => queue.byDecision.get(member.recommendation.id)).find(Boolean);
  if (held) return held;
  const item = { card, recommendations: new Map(), gone: "", absent: false };
  renew(queue, item, card);
  item.made = makeCard(item, {
    answer: (kind) => answer(queue, item, kind),
    send: (reason, note) => sendOverride(queue, item, reason, note),
    leave: () => leaveForm(queue),
    one: (id, kind) => answer(queue, item, kind, id),
  });
  item.made.element.addEventListener("focusin", () => select(queue, item, { focus: false }));
  return item;
}

/** Bring the list up to date: new cards in their place, done ones away; the selected card stays under the eye. */
function bringUp(queue, { asked = true } = {}) {
  const anchor = queue.selected?.made.element;
  const top = anchor?.getBoundingClientRect().top;
  const inList = queue.list.contains(document.activeElement);
  context(queue);
  const wanted = new Set(queue.told.cards.map((card) => itemOf(queue, card)));
  const stays = (item) => item === queue.form || unsettled(queue, item) || (!asked && undoable(queue, item));
  const kept = queue.items.filter((item) => (!wanted.has(item) || isDone(item)) && stays(item));
  const gone = queue.items.filter((item) => (!wanted.has(item) || isDone(item)) && !stays(item));
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

const isDone = (item) => item.made.element.classList.contains("done");
const unsettled = (queue, item) => [...item.recommendations.keys()].some((id) => ["sending", "waiting", "accepted"].includes(mine(id, queue.context.operator)?.state));

function undoable(queue, item) {
  const own = ownState([...item.recommendations.values()], queue.context.operator);
  return own.kind !== null && own.time_ms + queue.context.undo_window_ms > (queue.clocks_ms[item.card.scope] ?? 0);
}

function putAway(queue, item) {
  queue.charts.unwatch(item);
  item.made.element.remove();
  for (const id of item.recommendations.keys()) {
    queue.byDecision.delete(id);
    forget(id);
  }
}

function context(queue) {
  queue.context = { operator: operator(), mayAnswer: may("operator") || !session.me, clocks_ms: queue.clocks_ms, undo_window_ms: queue.told.undo_window_ms };
}

function drawSoon(queue, item) {
  queue.due ??= new Set();
  if (queue.due.size === 0) {
    requestAnimationFrame(() => {
      const due = [...queue.due];
      queue.due.clear();
      for (const each of due) {
        each.made.draw(queue.context);
        if (each === queue.reached) reachable(each, 0);
      }
      drawHead(queue);
    });
  }
  queue.due.add(item);
}

const drawAll = (queue) => queue.items.forEach((item) => drawSoon(queue, item));

function drawHead(queue) {
  const open = queue.items.filter((item) => !isDone(item)).length;
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
  if (!queue.empty.hidden) {
    const times = Object.entries(queue.clocks_ms).map(([scope, time_ms]) => `${scope} stands at ${clock(time_ms)} UTC`);
    queue.empty.replaceChildren(h("p", { class: "calm" }, "Nothing waits for an answer."), h("p", {}, times.length ? `New recommendations appear here by themselves; ${times.join(", ")}.` : "No telemetry has come yet."));
  }
}

// What the operator does.

function select(queue, item, { focus = true } = {}) {
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
  for (const each of item.made.element.querySelectorAll(".card-answers button, .card-answers a, .card-members button, .card-members a, .card-members summary")) each.tabIndex = tabindex;
}

function move(queue, step) {
  if (!queue.items.length) return;
  const place = queue.selected ? queue.items.indexOf(queue.selected) + step : 0;
  select(queue, queue.items[Math.max(0, Math.min(queue.items.length - 1, place))]);
}

async function answer(queue, item, kind, alone = null) {
  if (!may("operator")) return announce("Your token may look, not answer.");
  const name = await nameSelf();
  if (!name) return undefined;
  context(queue);
  select(queue, item, { focus: false });
  if (kind !== "override") return say(queue, item, { kind }, alone);
  if (queue.form === item && queue.alone === alone) return undefined;
  leaveForm(queue);
  queue.form = item;
  queue.alone = alone;
  item.made.openForm();
  return undefined;
}

function say(queue, item, said, alone = null) {
  const all = [...item.recommendations.values()].filter((each) => !alone || each.id === alone);
  const before = all.map((each) => standing(each, queue.context.operator));
  const news = all.filter((each) => give(each, { operator: queue.context.operator, ...said })).length;
  if (!news) announce(said.kind === "retract" ? `Nothing of yours to take back on ${item.card.title}` : `You have said ${before[0]?.kind} to ${item.card.title} already`);
  drawSoon(queue, item);
}

function sendOverride(queue, item, reason, note) {
  const { alone } = queue;
  leaveForm(queue);
  say(queue, item, { kind: "override", reason, note }, alone);
}

function leaveForm(queue) {
  const item = queue.form;
  queue.form = null;
  if (!item) return;
  item.made.closeForm();
  item.made.element.focus({ preventScroll: true });
}

const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
const DEEDS = { l: "like", o: "override", n: "neutral", u: "retract" };

function onKey(queue, event) {
  queue.active_ms = Date.now();
  const { key, target } = event;
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || takesText(target) || target.closest?.("form") || document.querySelector("dialog[open]")) return;
  const { selected } = queue;
  if (key in STEPS) move(queue, STEPS[key]);
  else if (key === "r") bringUp(queue);
  else if (key in DEEDS && event.repeat) event.preventDefault();
  else if (key in DEEDS && !selected) move(queue, 0);
  else if (key in DEEDS) answer(queue, selected, DEEDS[key]);
  else if (key === "Enter" && selected && target === selected.made.element) selected.made.why.click();
  else if (key === "m" && selected) openMembers(selected);
  else return;
  event.preventDefault();
}

function openMembers(item) {
  const details = item.made.element.querySelector("details");
  if (details) details.open = !details.open;
}

function listen(queue) {
  const on = (target, type, handle) => {
    target.addEventListener(type, handle);
    queue.stops.push(() => target.removeEventListener(type, handle));
  };
  on(document, "keydown", (event) => onKey(queue, event));
  on(document, "pointermove", () => (queue.active_ms = Date.now()));
  on(session, "change", () => {
    context(queue);
    drawAll(queue);
  });
  on(connection, "change", () => connection.state === "live" && queue.wasLost && refresh(queue));
  on(connection, "change", () => (queue.wasLost = connection.state === "lost"));
  on(answers, "change", (event) => {
    const { decision, answer: changed } = event.detail;
    const item = queue.byDecision.get(decision);
    if (!item) return;
    mark(queue, item);
    drawSoon(queue, item);
    if (changed.state === "sending") return;
    const own = ownState([...item.recommendations.values()], changed.operator);
    if (own.number === own.of || own.state === "refused") announce(`${item.card.title}: ${changed.kind} ${ownSays(own)}`);
  });
  on(queue.head.scopes, "change", () => {
    const chosen = queue.head.scopes.value;
    history.pushState(null, "", chosen ? `/queue?scope=${encodeURIComponent(chosen)}` : "/queue");
    dispatchEvent(new PopStateEvent("popstate"));
  });
  const timer = setInterval(() => document.visibilityState === "visible" && refresh(queue), EVERY_MS);
  queue.stops.push(() => clearInterval(timer), () => queue.unfollow?.());
}
