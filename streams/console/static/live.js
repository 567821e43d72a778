// What the server tells of the queue: read at first, followed by events, read again where cards come or go.
import { hear, hearRefused, unsettled } from "./answers.js";
import { backoff_ms, events, get, stale } from "./api.js";
import { ownState } from "./became.js";
import { announce, h } from "./dom.js";
import { bringUp, context, drawHead, drawSoon, newer, renew } from "./list.js";
import { forceNotice } from "./parts.js";

const AGAIN_MS = 400;
// Nobody is at the page: what is new comes by itself.
const IDLE_MS = 30_000;
const STOPPING = new Set(["killed", "shadow"]);

/** The path of the queue, as of a cursor at least. */
export function path(queue, after) {
  return `/queue?${new URLSearchParams({ ...(queue.scope ? { scope: queue.scope } : {}), ...(after ? { after } : {}) })}`;
}

/** Take the queue as the server tells it. */
export function take(queue, told) {
  queue.told = told;
  for (const [scope, time_ms] of Object.entries(told.clocks_ms)) tick(queue, scope, time_ms);
  drawForce(queue);
  const names = [...new Set([...Object.keys(queue.clocks_ms), ...(queue.scope ? [queue.scope] : [])])].sort();
  if (queue.head.scopes.length === names.length + 1) return;
  const options = ["", ...names].map((name) => h("option", { value: name, selected: name === (queue.scope ?? "") }, name || "all scopes"));
  queue.head.scopes.replaceChildren(...options);
}

/** Say what stops recommendations: under it an empty queue is no peace. */
function drawForce(queue) {
  const stopping = queue.told.in_force.filter((each) => STOPPING.has(each.what));
  const words = JSON.stringify(stopping);
  if (queue.head.force.dataset.words === words) return;
  queue.head.force.dataset.words = words;
  queue.head.force.replaceChildren(...(stopping.length ? [h("ul", { class: "notices" }, ...stopping.map(forceNotice))] : []));
}

function tick(queue, scope, time_ms) {
  queue.clocks_ms[scope] = Math.max(time_ms, queue.clocks_ms[scope] ?? 0);
}

/** Follow the events from where the queue stands. */
export function follow(queue) {
  queue.unfollow = events(["recommendation", "refused", "control"], queue.scope, queue.told.cursor, (message) => {
    if (message.event === "recommendation") heard(queue, message.data.event, message.id);
    else if (message.event === "refused") hearRefused(message.data.event);
    else if (message.event === "control") refreshSoon(queue, message.id);
    else if (message.event === "reset") reset(queue, message.id);
  });
}

/** The log no longer holds what followed: everything is read anew, and cards that are gone are marked; the stream goes on from here. */
function reset(queue, cursor) {
  announce("Too much has happened since; the queue is read anew.");
  refreshSoon(queue, cursor);
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

function tellOthers(queue, item, before, now) {
  const me = queue.context.operator;
  const known = new Set((before?.answers ?? []).map((each) => `${each.operator} ${each.revision}`));
  for (const each of now.answers) {
    if (each.operator !== me && !known.has(`${each.operator} ${each.revision}`))
      announce(`${each.operator} says ${each.kind} to ${item.card.title}`);
  }
}

function refreshSoon(queue, cursor) {
  queue.after = cursor;
  queue.refresh_timer ??= setTimeout(
    async () => {
      await refresh(queue);
      queue.refresh_timer = null;
      if ((queue.after || queue.failures) && !queue.stopped) refreshSoon(queue, queue.after);
    },
    Math.max(AGAIN_MS, 3 * (queue.took_ms ?? 0), queue.failures ? backoff_ms(queue.failures) : 0),
  );
}

/** Read the queue again; where that fails, say that it may be old, and try again. */
export async function refresh(queue) {
  const { after } = queue;
  queue.reads = (queue.reads ?? 0) + 1;
  const number = queue.reads;
  const began = performance.now();
  // What was asked for later tells more: every read waits for the cursor until one has come back with it.
  const overtaken = () => queue.stopped || number < (queue.taken ?? 0);
  let told;
  try {
    told = await get(path(queue, after));
  } catch (problem) {
    if (overtaken()) return;
    queue.failures = (queue.failures ?? 0) + 1;
    // A cursor that the server does not know will not be known later.
    if (!problem.passing && problem.status !== 401) queue.after = null;
    stale(problem.message);
    refreshSoon(queue, queue.after);
    return;
  }
  if (overtaken()) return;
  queue.taken = number;
  queue.took_ms = performance.now() - began;
  queue.failures = 0;
  if (queue.after === after) queue.after = null;
  stale("");
  take(queue, told);
  context(queue);
  reconcile(queue, told.cards);
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
  explain(queue);
  queue.items.forEach((item) => drawSoon(queue, item));
  if (!queue.items.length || (Date.now() - queue.active_ms > IDLE_MS && !queue.form)) bringUp(queue, { asked: false });
  drawHead(queue);
}

/** Ask about what the server no longer lists: what became of answers that were on their way, and of cards that nobody has spoken of. */
export function explain(queue) {
  const { operator } = queue.context;
  for (const item of queue.items) {
    if (item.asked || item.gone) continue;
    const listed = new Set(item.absent ? [] : item.card.members.map((member) => member.recommendation.id));
    const all = [...item.recommendations.values()];
    const unlisted = all.filter((each) => !listed.has(each.id));
    const untold = unlisted.filter((each) => unsettled(each.id, operator));
    if (untold.length) ask(queue, item, untold);
    else if (item.absent && !ownState(all, operator).kind) ask(queue, item, unlisted);
  }
}

/** Have recommendations of a card tell themselves; those that could not for now are asked with the next read of the queue. */
async function ask(queue, item, asked) {
  item.asked = true;
  const replies = await Promise.allSettled(asked.map(({ id }) => get(`/recommendations/${encodeURIComponent(id)}`)));
  for (const { value: told, reason } of replies) {
    if (reason?.passing) item.asked = false;
    if (!told || !newer(told, item.recommendations.get(told.id))) continue;
    item.recommendations.set(told.id, told);
    hear(told);
  }
  mark(queue, item);
  drawSoon(queue, item);
}

/** Say of a card that it is closed, or that others have answered it, and why. */
export function mark(queue, item) {
  const all = [...item.recommendations.values()];
  const me = queue.context.operator;
  const by = all.flatMap((each) => each.answers).filter((each) => each.operator !== me && each.kind !== "retract");
  const closed = all.every((each) => each.life === "expired" || each.late);
  const answered = all.every((each) => each.answers.some((answer) => answer.kind !== "retract"));
  const own = ownState(all, me);
  if (closed && !own.kind)
    item.gone = `Closed${by.length ? "" : ": nobody answered in time"}. An answer now counts for trust only.`;
  else if (answered && by.length && !own.kind) item.gone = "Answered meanwhile; you can still say otherwise.";
  else if (item.absent && item.asked && !own.kind && !answered) item.gone = "No longer open.";
  else item.gone = "";
}
