// Who is at the page: the server's word on it, the name under which answers are given, and the token.
import { connection, get, token } from "./api.js";
import { ask, h } from "./dom.js";

const OPERATOR = "npo.operator";

/** What the server knows of who asks (`GET /me`), null until it has said so, and of which token it said that; dispatches `change`. */
export const session = Object.assign(new EventTarget(), { me: null, token: null });

/** The name that answers bear; null where nobody has given one. */
export function operator() {
  return session.me?.operator ?? localStorage.getItem(OPERATOR);
}

/** In whose name the server takes answers now; null while it has not said so of the token that this browser holds. */
export function speaking() {
  return session.me && session.token === token.get() ? operator() : null;
}

/** Whether the page may send answers (`operator`), commands (`admin`). */
export function may(role) {
  const ranks = { viewer: 1, operator: 2, admin: 3 };
  return (ranks[session.me?.role] ?? 0) >= ranks[role];
}

/** Ask the server who we are. */
export async function load() {
  const asked = token.get();
  const me = await get("/me");
  // Who has changed the token asks anew.
  if (asked !== token.get()) return;
  Object.assign(session, { me, token: asked });
  session.dispatchEvent(new Event("change"));
}

/** Return the name that answers bear, and ask for it where there is none; null where it was not given. */
export async function nameSelf({ again = false } = {}) {
  if (session.me?.operator || (!again && operator())) return operator();
  const field = h("input", {
    name: "operator",
    required: true,
    maxlength: 100,
    autocomplete: "username",
    spellcheck: "false",
    value: operator() ?? "",
  });
  const content = [
    h("p", {}, "Your answers bear this name, on the log and to other operators. A pseudonym will do. This browser remembers it."),
    h("label", {}, "Name", field),
  ];
  const given = await ask("Who answers?", content, "Answer under this name");
  const name = given?.get("operator").trim();
  if (!name) return null;
  localStorage.setItem(OPERATOR, name);
  session.dispatchEvent(new Event("change"));
  return name;
}

let asking = false;

/** Ask for a token until the server knows it; once at a time. */
export async function askToken() {
  if (asking) return;
  asking = true;
  const wrong = token.get() ? h("p", { class: "wrong", role: "alert" }, "The server does not know this token.") : null;
  const field = h("input", { name: "token", type: "password", required: true, autocomplete: "current-password", spellcheck: "false" });
  const content = [
    wrong,
    h(
      "p",
      {},
      "This console asks for a token. Who runs it makes one with ",
      h("code", {}, "npo token add"),
      ". This browser remembers it.",
    ),
    h("label", {}, "Token", field),
  ];
  const given = await ask("Sign in", content.filter(Boolean), "Sign in", { no: "" });
  asking = false;
  if (given) token.set(given.get("token").trim());
  await load().catch(() => {});
}

connection.addEventListener("unauthorized", askToken);
// Another tab has signed in, or taken another name.
addEventListener("storage", ({ key }) => [token.key, OPERATOR].includes(key) && load().catch(() => {}));
