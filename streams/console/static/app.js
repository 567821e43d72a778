// The shell: which view is shown, the connection, who is at the page, the theme, the keys.
import { answers, waiting } from "./answers.js";
import { connection, stale } from "./api.js";
import { announce, ask, clock, counted, h, takesText } from "./dom.js";
import { load, nameSelf, operator, session } from "./session.js";

/**
 * A view's module exports `view(params)` -> {element, stop(), title?, keys?, arrived?()}, or a promise of it. `params` are what the path and query
 * name; `arrived` is called when the view is in the page; `keys` are rows [key, what it does] for the list of keys. `stop` ends what the view has running.
 */
const ROUTES = [
  [/^\/(?:queue)?$/, "queue", () => import("./queue.js"), []],
  [/^\/why\/([^/]+)$/, "why", () => import("./why.js"), ["id"]],
  [/^\/loop(?:\/([^/]+))?$/, "loop", () => import("./loop.js"), ["scope"]],
];
const KEYS = [
  ["g q", "the queue"],
  ["g l", "the loop"],
  ["?", "these keys"],
];
// A server that restarts is back sooner than anyone reads.
const PATIENCE_MS = 1200;
const RETRY_MS = 2000;
const THEMES = ["", "light", "dark"];
const THEME_SAYS = { "": "as the system has it", light: "light", dark: "dark" };
const THEME_SIGN = { "": "◐", light: "☀", dark: "☾" };

const main = document.getElementById("main");
let current = null;
let turn = 0;

/** Show the view of the address. */
async function show({ focus = true } = {}) {
  const mine = ++turn;
  current?.stop?.();
  current = null;
  stale("");
  const { pathname, searchParams } = new URL(location.href);
  const found = ROUTES.map(([pattern, ...rest]) => [pathname.match(pattern), ...rest]).find(([match]) => match);
  const [match, name, module, names] = found ?? [[], "", null, []];
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.dataset.view = name;
  main.setAttribute("aria-busy", "true");
  let shown;
  try {
    if (!module) throw new Error(`There is no page ${pathname}.`);
    const values = names.map((key, place) => [key, match[place + 1] === undefined ? null : decodeURIComponent(match[place + 1])]);
    const params = { ...Object.fromEntries(searchParams), ...Object.fromEntries(values) };
    shown = await (await module()).view(params);
  } catch (error) {
    shown = failed(error);
  }
  if (mine !== turn) {
    shown.stop?.();
    return;
  }
  current = shown;
  main.replaceChildren(shown.element);
  main.setAttribute("aria-busy", "false");
  document.title = `${shown.title ?? name} · NPO`;
  if (focus) main.focus({ preventScroll: true });
  shown.arrived?.();
}

function failed(error) {
  const again = h("button", { type: "button", onclick: () => show() }, "Try again");
  const timer = error.passing ? setTimeout(show, RETRY_MS) : null;
  const element = h("section", { class: "notice" }, h("h1", {}, "This view could not be shown"), h("p", {}, error.message), again);
  return { element, title: "Error", failed: true, stop: () => clearTimeout(timer) };
}

/** Go to another address of the page. */
export function go(path) {
  history.pushState(null, "", path);
  scrollTo(0, 0);
  show();
}

function followLinks(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || link.origin !== location.origin || link.hash || link.pathname.startsWith("/api/")) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

function help() {
  const rows = [...(current?.keys ?? []), ...KEYS].map(([key, says]) =>
    h("tr", {}, h("th", { scope: "row" }, keysOf(key)), h("td", {}, says)),
  );
  ask("Keys", [h("table", { class: "keys" }, h("tbody", {}, rows))], "Close", { no: "" });
}

const keysOf = (text) => text.split(" ").flatMap((key, place) => [place ? " " : null, h("kbd", {}, key)]);

const before = { key: "", state: "" };
function onKey(event) {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || takesText(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const pair = `${before.key} ${event.key}`;
  before.key = event.key;
  if (event.key === "?") help();
  else if (pair === "g q") go("/queue");
  else if (pair === "g l") go("/loop");
  else return;
  event.preventDefault();
}

function showConnection() {
  const shown = document.getElementById("connection");
  const says = { connecting: "connecting", live: "live", lost: "no connection" }[connection.state];
  if (shown.dataset.state !== connection.state && (connection.state === "lost" || shown.dataset.state === "lost")) {
    announce(connection.state === "lost" ? "Connection lost. Answers are kept and sent when it is back." : "Connected again.");
  }
  shown.dataset.state = connection.state;
  shown.textContent = says;
}

let patience = null;
function showBanner() {
  const banner = document.getElementById("banner");
  const left_ms = PATIENCE_MS - (Date.now() - connection.since_ms);
  const lost = connection.state === "lost";
  clearTimeout(patience);
  if (lost && left_ms > 0) patience = setTimeout(showBanner, left_ms);
  const me = operator();
  const own = waiting().filter((answer) => answer.operator === me).length;
  const says = [...(lost ? lostSays(own, left_ms) : heldSays(own)), ...othersSay(me)];
  banner.hidden = !says.length;
  if (says.length) banner.replaceChildren(...says.map((each) => h("div", {}, ...each)));
}

function lostSays(own, left_ms) {
  if (!own && left_ms > 0) return [];
  const held = own ? ` ${counted(own, "answer waits", "answers wait")} for it.` : "";
  const rest = `What you see may be old. Answers you give are kept in this browser and sent when it is back.${held}`;
  return [[h("b", {}, `No connection since ${clock(connection.since_ms)} UTC. `), rest]];
}

function heldSays(own) {
  const old = [h("b", {}, "What you see may be old. "), `${connection.stale.replace(/\.$/, "")}. It is read again by itself.`];
  const again = own === 1 ? "it is sent again by itself." : "they are sent again by themselves.";
  const held = [h("b", {}, `${counted(own, "answer is", "answers are")} not on the log yet. `), `The server cannot write now; ${again}`];
  return [...(connection.stale ? [old] : []), ...(own ? [held] : [])];
}

/** What others could not send from this browser: it is not sent in another's name. */
function othersSay(me) {
  const names = [...new Set(waiting().map((answer) => answer.operator))].filter((name) => name !== me).sort();
  return names.map((name) => {
    const number = waiting().filter((answer) => answer.operator === name).length;
    const kept = `${counted(number, `answer of ${name} waits`, `answers of ${name} wait`)} in this browser. `;
    return [h("b", {}, kept), `Nobody else sends ${number === 1 ? "it" : "them"}: that happens when ${name} signs in here again.`];
  });
}

function showSession() {
  const button = document.getElementById("operator");
  const { me } = session;
  button.hidden = !me;
  if (!me) return;
  const who = operator();
  const role = { viewer: "may look, not answer", operator: "", admin: me.tokens ? "admin" : "" }[me.role];
  button.replaceChildren(who ?? "who are you?", role ? h("small", {}, ` ${role}`) : "");
  button.title = me.operator ? `Answers bear the name ${who}, by token ${me.name}` : "The name that your answers bear";
  button.disabled = Boolean(me.operator) || me.role === "viewer";
}

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "";
  const button = document.getElementById("theme");
  button.textContent = THEME_SIGN[theme];
  button.title = `Theme: ${THEME_SAYS[theme]}`;
  button.setAttribute("aria-label", button.title);
}

function switchTheme() {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  if (next) localStorage.setItem("npo.theme", next);
  else localStorage.removeItem("npo.theme");
  showTheme();
}

document.addEventListener("click", followLinks);
document.addEventListener("keydown", onKey);
addEventListener("popstate", () => show());
connection.addEventListener("change", () => {
  showConnection();
  showBanner();
  // Where the server was away when the page came, it has not said yet who we are.
  if (connection.state === "live" && before.state === "lost" && !session.me) load().catch(() => {});
  before.state = connection.state;
});
answers.addEventListener("change", showBanner);
connection.addEventListener("stale", showBanner);
session.addEventListener("change", () => {
  showSession();
  showBanner();
  if (current?.failed) show();
});
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("help").addEventListener("click", help);
document.getElementById("operator").addEventListener("click", () => nameSelf({ again: true }));
showTheme();
showBanner();
load().catch(() => {});
show({ focus: false });
