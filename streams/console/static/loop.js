// One scope's loop: what it loses and overrides, whom it trusts, what the monitor does, and the switches that stop it.
import { events, get } from "./api.js";
import { commands } from "./control.js";
import { h } from "./dom.js";
import { PANELS } from "./panels.js";
import { section } from "./parts.js";

const DEBOUNCE_MS = 300;
const LATEST_MS = 2000; // a steady stream of events must not put off the next look for ever
const TOPICS = ["recommendation", "decision", "alignment", "retraining-command", "retraining-result", "model", "control"];
const AGAIN_MS = 2000;

/** The view of `/loop` and `/loop/<scope>`; without a scope it shows the first. */
export function view({ scope }) {
  const content = h("div", { class: "loop-content" }, h("p", {}, "Reading…"));
  const switcher = h("nav", { class: "scopes", "aria-label": "Scopes" });
  const element = h("article", { class: "loop", "aria-busy": "true" }, switcher, content);
  const state = { stopped: false, timer: 0, since_ms: 0, cursor: null, stopStream: null, me: null, panels: null };

  async function show() {
    state.timer = 0;
    const after = state.cursor ? `?after=${encodeURIComponent(state.cursor)}` : "";
    try {
      const [list, me] = await Promise.all([get(`/scopes${after}`), state.me ?? get("/me")]);
      state.me = me;
      const chosen = scope ?? list.scopes[0]?.scope;
      if (state.stopped) return;
      switcher.replaceChildren(...scopesOf(list.scopes, chosen));
      if (chosen === undefined) return empty(list.cursor);
      const told = await get(`/scopes/${encodeURIComponent(chosen)}${after}`);
      if (state.stopped) return;
      put(told);
      state.stopStream ??= events(TOPICS, chosen, told.cursor, later);
    } catch (problem) {
      if (state.stopped) return;
      stopPanels();
      content.replaceChildren(h("h1", {}, "Loop"), h("p", { class: "problem", role: "alert" }, problem.message));
      if (problem.status !== 404) state.timer = setTimeout(show, AGAIN_MS);
    } finally {
      element.setAttribute("aria-busy", "false");
    }
  }

  function empty(cursor) {
    content.replaceChildren(h("h1", {}, "Loop"), h("p", {}, "No scope has decided anything yet. Send telemetry: a scope appears with its first decision."));
    state.stopStream ??= events(TOPICS, null, cursor, later);
  }

  function put(told) {
    state.panels ??= frame(content, told.scope, state.me, () => later({}));
    for (const panel of state.panels) panel.show(told);
  }

  function stopPanels() {
    state.panels?.forEach((panel) => panel.stop());
    state.panels = null;
  }

  function later({ event, id }) {
    if (state.stopped) return;
    // What the log no longer holds cannot be waited for.
    state.cursor = event === "reset" ? null : id || state.cursor;
    const now_ms = performance.now();
    if (!state.timer) state.since_ms = now_ms;
    clearTimeout(state.timer);
    state.timer = setTimeout(show, Math.min(DEBOUNCE_MS, Math.max(0, state.since_ms + LATEST_MS - now_ms)));
  }

  show();
  return {
    element,
    stop() {
      state.stopped = true;
      clearTimeout(state.timer);
      state.stopStream?.();
      stopPanels();
    },
  };
}

function scopesOf(scopes, chosen) {
  const links = scopes.map((each) => {
    const alarms = Object.keys(each.alarms).length;
    const notes = [
      each.open ? h("span", { class: "count" }, `${each.open} open`) : null,
      alarms ? h("span", { class: "count alarm" }, alarms === 1 ? "1 alarm" : `${alarms} alarms`) : null,
      each.in_force.length ? h("span", { class: "count alarm" }, each.in_force.map((one) => one.what).join(", ")) : null,
    ];
    const current = each.scope === chosen ? { "aria-current": "page" } : {};
    return h("li", {}, h("a", { href: `/loop/${encodeURIComponent(each.scope)}`, ...current }, h("span", {}, each.scope), ...notes.filter(Boolean)));
  });
  return [h("ul", {}, ...links)];
}

/** Set up the panels once, so that what a person is typing or reading stays when numbers change. */
function frame(content, scope, me, done) {
  const panels = PANELS.map(({ title, pick, draw }) => panelOf(title, pick, draw));
  const switches = section("Switches", commands(["kill", "freeze", "shadow", "resume", "reopen"], { scope, me, done }));
  const chooser = h("select", { id: "source" });
  const people = h("div", { class: "about-source" },
    ...(me.role === "admin" ? [h("label", { for: "source" }, "About the source "), chooser] : []),
    commands(["quarantine", "revoke", "release"], { scope, me, done, subject: () => chooser.value }));
  panels.find((panel) => panel.title === "Trust by source").element.append(people);
  const [glance, ...others] = panels.map((panel) => panel.element);
  content.replaceChildren(h("h1", {}, `Loop of ${scope}`), glance, switches, ...others);
  // Which sources there are to choose from is not drawn anew either, unless it changes.
  return [...panels, { show: (told) => choose(people, chooser, told), stop: () => {} }];
}

function choose(people, chooser, told) {
  const commanded = told.in_force.map((each) => each.what.match(/^(?:quarantined|revoked) (.*)$/)?.[1]).filter(Boolean);
  const names = [...new Set([...told.sources.map((each) => each.source), ...commanded])];
  people.hidden = !names.length;
  if (names.join() === [...chooser.options].map((each) => each.value).join()) return;
  const before = chooser.value;
  chooser.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
  if (names.includes(before)) chooser.value = before;
}

/** A panel that is drawn anew only where its part of the scope has changed; what is open in it stays open, and focus stays. */
function panelOf(title, pick, draw) {
  const body = h("div", { class: "body" });
  const element = section(title, body);
  let before = null;
  let charts = [];
  return {
    title,
    element,
    show(told) {
      const data = pick(told);
      const text = JSON.stringify(data);
      if (text === before) return;
      before = text;
      const open = [...body.querySelectorAll("details[open]")].map((each) => each.dataset.name);
      const focused = body.contains(document.activeElement) ? labelOf(document.activeElement) : null;
      charts.forEach((each) => each.stop());
      charts = draw(body, data, told) ?? [];
      for (const each of body.querySelectorAll("details")) each.open = open.includes(each.dataset.name);
      if (focused) [...body.querySelectorAll("[tabindex], summary, a, button")].find((each) => labelOf(each) === focused)?.focus();
    },
    stop: () => charts.forEach((each) => each.stop()),
  };
}

const labelOf = (element) => element.getAttribute("aria-label") ?? element.textContent;
