// The queue: open recommendations as cards, kept where they are while they change; answers by key or button.
import { answers, give, standing } from "./answers.js";
import { connection, get } from "./api.js";
import { ownSays, ownState } from "./became.js";
import { answerable } from "./card.js";
import { charts } from "./cardcharts.js";
import { announce, h, takesText } from "./dom.js";
import { begin, bringUp, context, drawSoon, isSettling, select } from "./list.js";
import { explain, follow, mark, path, refresh, take } from "./live.js";
import { load, may, nameSelf, session } from "./session.js";

// Clocks and deadlines move where nothing else does.
const EVERY_MS = 20_000;
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

// Under it a visit of the queue leaves to the next, also to that after a reload, the cards whose answers are on their way or can still be
// taken back, in their places. The selected card is not among that: after a reload a key would answer it unforeseen.
const LEFT = "npo.left";
let selected = null;

/**
 * The queue: of the scope that the query names, else of all.
 *
 * Its state: `told` is the server's latest word; `items` are the cards as they are shown, in order, and `fresh` those that wait to be;
 * `byDecision` finds an item by any of its decisions; `selected` is the item that keys are about, `form` the one whose reasons are open.
 */
export async function view(params) {
  const queue = {
    scope: params.scope ?? null,
    told: null,
    items: [],
    fresh: [],
    byDecision: new Map(),
    selected: null,
    form: null,
    alone: null,
    hinted: null,
    context: {},
    clocks_ms: {},
    active_ms: Date.now(),
    stops: [],
  };
  queue.acts = (item) => ({
    answer: (kind) => answer(queue, item, kind),
    send: (reason, note) => sendOverride(queue, item, reason, note),
    leave: () => leaveForm(queue),
    one: (id, kind) => answer(queue, item, kind, id),
  });
  queue.list = h("div", { class: "cards", role: "feed", "aria-label": "Open recommendations", "aria-busy": "false" });
  queue.head = {
    count: h("h1", {}),
    fresh: h("button", { type: "button", class: "fresh", hidden: true, onclick: () => bringUp(queue) }),
    scopes: h("select", { "aria-label": "Scope" }),
    force: h("div", { role: "status" }),
  };
  queue.empty = h("div", { class: "empty", hidden: true });
  const element = h(
    "section",
    { class: "queue" },
    h("div", { class: "queue-head" }, queue.head.count, queue.head.scopes, queue.head.fresh),
    queue.head.force,
    queue.empty,
    queue.list,
  );
  queue.charts = charts();
  take(queue, await get(path(queue)));
  const left = lately();
  const isShown = ({ card }) => !queue.scope || card.scope === queue.scope;
  queue.elsewhere = left.filter((each) => !isShown(each));
  begin(queue, left.filter(isShown));
  explain(queue);
  listen(queue);
  follow(queue);
  const before = selected;
  const arrived = () => before && queue.byDecision.has(before) && select(queue, queue.byDecision.get(before));
  return { element, title: document.title.replace(" · NPO", ""), keys: KEYS, arrived, stop: () => stop(queue) };
}

function stop(queue) {
  queue.stopped = true;
  clearTimeout(queue.refresh_timer);
  queue.stops.forEach((each) => each());
  queue.charts.stop();
  selected = queue.selected?.card.id ?? null;
  leave(queue);
}

/** What was left, as `{place, card, recommendations}`; nothing where another version of the page has left it. */
function lately() {
  try {
    return JSON.parse(sessionStorage.getItem(LEFT)).filter((each) => each.card.members.length && each.recommendations.length);
  } catch {
    return [];
  }
}

function leave(queue) {
  // Whose answers can be taken back is not known yet.
  if (!session.me) return;
  const settling = [...queue.items.entries()].filter(([, item]) => isSettling(queue, item));
  const cards = settling.map(([place, { card, recommendations }]) => ({ place, card, recommendations: [...recommendations] }));
  try {
    sessionStorage.setItem(LEFT, JSON.stringify([...queue.elsewhere, ...cards]));
  } catch {
    // More than a browser keeps: the answers are on their way all the same.
    sessionStorage.removeItem(LEFT);
  }
}

function move(queue, step) {
  if (!queue.items.length) return;
  const from = queue.selected ? queue.items.indexOf(queue.selected) : step > 0 ? -1 : 0;
  const place = from + step;
  hint(queue, queue.selected, "");
  select(queue, queue.items[Math.max(0, Math.min(queue.items.length - 1, place))]);
}

/** Say beside a card why a key or button did nothing; what another card said of it goes. */
function hint(queue, item, text) {
  for (const each of new Set([queue.hinted, item])) {
    if (!each) continue;
    each.hint = each === item ? text : "";
    drawSoon(queue, each);
  }
  queue.hinted = item;
  if (text) announce(text);
}

async function answer(queue, item, kind, alone = null) {
  hint(queue, item, "");
  try {
    if (!session.me) await load();
  } catch (problem) {
    return hint(queue, item, `Not answered; press again. It is not known what you may do: ${problem.message}`);
  }
  if (!may("operator")) return hint(queue, item, "Your token may look, not answer.");
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
  const all = alone ? [item.recommendations.get(alone)] : answerable(item);
  const before = all.map((each) => standing(each, queue.context.operator));
  const news = all.filter((each) => give(each, { operator: queue.context.operator, ...said })).length;
  const { title } = item.card;
  if (!news)
    hint(
      queue,
      item,
      said.kind === "retract" ? `Nothing of yours to take back on ${title}` : `You have said ${before[0]?.kind} to ${title} already`,
    );
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

const isOthers = (event) =>
  event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]");

/** Letters act where the focus is in the list, or nowhere in particular: beside it they belong to what has it. */
const isHere = (queue, target) => target === document.body || target.id === "main" || queue.list.contains(target);

function onKey(queue, event) {
  queue.active_ms = Date.now();
  const { key, target } = event;
  if (isOthers(event) || takesText(target) || target.closest?.("form") || !isHere(queue, target)) return;
  const { selected } = queue;
  if (key in STEPS) move(queue, STEPS[key]);
  else if (key === "r") bringUp(queue);
  else if (key in DEEDS && event.repeat) event.preventDefault();
  else if (key in DEEDS && !inSight(selected)) bringIntoSight(queue);
  else if (key in DEEDS) answer(queue, selected, DEEDS[key]);
  else if (key === "Enter" && selected && target === selected.made.element) selected.made.why.click();
  else if (key === "m" && selected) openMembers(selected);
  else return;
  event.preventDefault();
}

function inSight(item) {
  if (!item) return false;
  const { top, bottom } = item.made.element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/** No key answers a card that is not seen: it is brought into sight first. */
function bringIntoSight(queue) {
  if (queue.selected) select(queue, queue.selected);
  else move(queue, 0);
  if (queue.selected) hint(queue, queue.selected, `${queue.selected.card.title} is selected; press the key again to answer`);
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
  on(window, "pagehide", () => leave(queue));
  on(session, "change", () => {
    context(queue);
    queue.items.forEach((item) => {
      item.asked = false;
      mark(queue, item);
    });
    explain(queue);
    queue.items.forEach((item) => drawSoon(queue, item));
  });
  on(connection, "change", () => {
    if (connection.state === "live" && queue.wasLost) refresh(queue);
    queue.wasLost = connection.state === "lost";
  });
  on(answers, "change", (event) => {
    const { decision, answer: changed } = event.detail;
    const item = queue.byDecision.get(decision);
    if (!item) return;
    mark(queue, item);
    drawSoon(queue, item);
    if (changed.state === "sending") return;
    const own = ownState(answerable(item), changed.operator);
    if (own.number === own.of || own.state === "refused") announce(`${item.card.title}: ${changed.kind} ${ownSays(own)}`);
  });
  on(queue.head.scopes, "change", () => {
    const chosen = queue.head.scopes.value;
    history.pushState(null, "", chosen ? `/queue?scope=${encodeURIComponent(chosen)}` : "/queue");
    dispatchEvent(new PopStateEvent("popstate"));
  });
  const timer = setInterval(() => document.visibilityState === "visible" && refresh(queue), EVERY_MS);
  queue.stops.push(
    () => clearInterval(timer),
    () => queue.unfollow?.(),
  );
}
