// Answers on their way: kept until the log has them, sent again with the same revision, and what the pipeline made of them.
import { connection, post } from "./api.js";
import { load, session, speaking } from "./session.js";

/*
 * An answer's states:
 *
 * | state | what is known |
 * |---|---|
 * | sending | on its way |
 * | waiting | the server was not reached, or could not: kept in this browser, and sent again while its operator is who speaks |
 * | accepted | the log has it (HTTP 201, or 200 where it had it already) |
 * | counted | the pipeline has taken it, and it stands |
 * | late | the pipeline has taken it; the recommendation was closed: an operator's first answer counts for trust only, a later one for nothing |
 * | refused | the server or the pipeline has refused it; `detail` says why |
 */
const KEPT = "npo.answer.";
const REVISIONS = "npo.revisions";
const REVISIONS_MAX = 2000;
const AGAIN_MS = [500, 1000, 2000, 4000];
const SETTLED = new Set(["counted", "late", "refused"]);

/** By decision and operator, the latest answer; dispatches `change` with `detail.decision`. */
const held = new Map();
const latest = new Map();
export const answers = new EventTarget();

const keyOf = (decision, operator) => `${decision} ${operator}`;

function changed(answer, before) {
  answers.dispatchEvent(new CustomEvent("change", { detail: { decision: answer.decision, answer, before } }));
}

function becomes(answer, state, detail = "") {
  const before = answer.state;
  answer.state = state;
  answer.detail = detail;
  keep(answer);
  changed(answer, before);
}

/** Keep an answer in this browser for as long as it is on its way; a later one that another tab has kept stays. */
function keep(answer) {
  const key = KEPT + keyOf(answer.decision, answer.operator);
  if (stored(key)?.revision > answer.revision) return;
  if (answer.state === "sending" || answer.state === "waiting") localStorage.setItem(key, JSON.stringify(answer));
  else localStorage.removeItem(key);
}

/** What this browser holds under a key; null where that is nothing, or not ours to read. */
function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

const revisions = () => stored(REVISIONS) ?? {};

/** What this browser has used of revisions: a retracted answer is on the log, but no longer on the recommendation. */
function use(decision, operator, revision) {
  const entries = Object.entries(revisions()).filter(([key]) => key !== keyOf(decision, operator));
  entries.push([keyOf(decision, operator), revision]);
  localStorage.setItem(REVISIONS, JSON.stringify(Object.fromEntries(entries.slice(-REVISIONS_MAX))));
}

/** The answer of an operator to a decision as this page knows it; undefined where it gave none. */
export const mine = (decision, operator) => held.get(keyOf(decision, operator));

/** Whether it is not known yet what became of an operator's answer to a decision. */
export const unsettled = (decision, operator) => mine(decision, operator) !== undefined && !SETTLED.has(mine(decision, operator).state);

/** The answers that wait: for the connection, or for their operator. */
export const waiting = () => [...held.values()].filter((answer) => answer.state === "waiting");

/** What stands of an operator on a recommendation, as this page or else the pipeline knows it: null where nothing does. */
export function standing(recommendation, operator) {
  const own = mine(recommendation.id, operator);
  if (own && own.state !== "refused") return own.kind === "retract" ? null : own;
  return recommendation.answers.find((each) => each.operator === operator && each.kind !== "retract") ?? null;
}

/**
 * Give an answer; the same again is not sent.
 *
 * @param {object} recommendation as last heard of
 * @param {{operator: string, kind: string, reason: ?string, note: ?string}} said
 * @returns {boolean} whether it was news
 */
export function give(recommendation, said) {
  const { operator, kind, reason = null, note = null } = said;
  const stands = standing(recommendation, operator);
  const same = stands && stands.kind === kind && (stands.reason ?? null) === reason && (stands.note ?? null) === note;
  if (same || (kind === "retract" && !stands)) return false;
  const told = recommendation.answers.find((each) => each.operator === operator)?.revision ?? 0;
  const used = revisions()[keyOf(recommendation.id, operator)] ?? 0;
  const revision = 1 + Math.max(told, used);
  use(recommendation.id, operator, revision);
  const answer = { decision: recommendation.id, operator, kind, reason, note, revision, state: "", detail: "", tries: 0 };
  held.set(keyOf(answer.decision, operator), answer);
  if (!latest.has(recommendation.id)) latest.set(recommendation.id, recommendation);
  send(answer);
  return true;
}

async function send(answer) {
  becomes(answer, "sending");
  const { decision, operator, kind, revision, reason, note } = answer;
  const body = { operator, kind, revision, ...(reason ? { reason } : {}), ...(note ? { note } : {}) };
  answer.tries += 1;
  let given;
  try {
    given = await post(`/decisions/${encodeURIComponent(decision)}/answers`, body);
  } catch (error) {
    // A change of mind has taken this one's place.
    if (held.get(keyOf(decision, operator)) !== answer) return;
    // Whoever has signed in meanwhile may not say it; it is not his to lose.
    const others = error.status === 403 && speaking() !== operator;
    if (error.passing || error.status === 401 || others) {
      becomes(answer, "waiting", error.message);
      if (error.passing) again();
    } else {
      becomes(answer, "refused", error.message);
    }
    return;
  }
  if (held.get(keyOf(decision, operator)) !== answer) return;
  Object.assign(answer, {
    partition: given.body.partition,
    offset: given.body.offset,
    time_ms: given.body.time_ms,
    closed: given.body.closed,
  });
  answer.repeated = given.status === 200;
  becomes(answer, "accepted");
  settle(answer);
}

let timer = null;
let rounds = 0;

function again() {
  if (timer) return;
  timer = setTimeout(
    () => {
      timer = null;
      rounds += 1;
      resend();
    },
    AGAIN_MS[Math.min(rounds, AGAIN_MS.length - 1)],
  );
}

/** Send what waits of who speaks now: the answers of others wait for them. */
export function resend() {
  if (!session.me && waiting().length) load().catch((error) => error.passing && again());
  const found = waiting().filter((answer) => answer.operator === speaking());
  if (!found.length) rounds = 0;
  found.forEach(send);
}

/** Take a recommendation's news: what of our answers stands by now. */
export function hear(recommendation) {
  latest.set(recommendation.id, recommendation);
  for (const answer of held.values()) if (answer.decision === recommendation.id) settle(answer);
}

function settle(answer) {
  const told = latest.get(answer.decision);
  if (answer.state !== "accepted" || !told) return;
  const own = told.answers.find((each) => each.operator === answer.operator);
  const taken = (told.positions.feedback ?? 0) > answer.offset;
  if (own?.revision === answer.revision) becomes(answer, told.late ? "late" : "counted");
  else if (taken && answer.kind === "retract" && !own) becomes(answer, told.late ? "late" : "counted");
  else if (own && own.revision > answer.revision) becomes(answer, "refused", "you have answered anew elsewhere since; that answer stands");
  else if (taken && answer.repeated && !own) becomes(answer, "refused", "you had said so, and taken it back elsewhere; answer again");
}

/** Take a refusal of the pipeline (event `refused`): the answer that it is about, if it is one of ours. */
export function hearRefused(refused) {
  if (refused.topic !== "feedback") return;
  for (const answer of held.values()) {
    const there = answer.offset === refused.offset && answer.partition === refused.partition;
    const it = refused.event ?? {};
    const named = it.decision === answer.decision && it.operator === answer.operator && it.revision === answer.revision;
    // Of the same revision twice, the one that came second was refused.
    if (answer.offset === undefined ? named && it.kind === answer.kind : there)
      becomes(answer, "refused", refused.detail || refused.reason);
  }
}

/** Forget answers whose end is known and whose card is no longer shown. */
export function forget(decision) {
  latest.delete(decision);
  for (const [key, answer] of held) if (answer.decision === decision && SETTLED.has(answer.state)) held.delete(key);
}

/** What an earlier page of this browser could not send waits, until the server has said who speaks. */
function restore() {
  const found = Object.keys(localStorage).filter((each) => each.startsWith(KEPT)).map(stored).filter(Boolean);
  for (const answer of found) held.set(keyOf(answer.decision, answer.operator), { ...answer, state: "waiting" });
  if (found.length) again();
}

restore();
connection.addEventListener("change", () => connection.state === "live" && resend());
session.addEventListener("change", resend);
