// Commands to the pipeline, each confirmed in a dialog: kill switch, freeze, shadow, resume, reopen, and those about one source.
import { post } from "./api.js";
import { announce, ask, h } from "./dom.js";
import { nameSelf } from "./session.js";

const ALL = "*";
const COMMANDS = {
  kill: { name: "Kill switch", does: "Surface nothing any more, until it is resumed.", yes: "Surface nothing", danger: true },
  freeze: { name: "Freeze", does: "Go on surfacing, but let no answer move scores or trust, until it is resumed.", yes: "Freeze learning" },
  shadow: { name: "Shadow", does: "Decide and log everything, and surface nothing, until it is resumed.", yes: "Go into shadow" },
  resume: { name: "Resume", does: "Take back kill switch, freeze and shadow that have the same reach.", yes: "Resume" },
  reopen: { name: "Reopen budget", does: "Start the override budget anew where it has less than at the start.", yes: "Start it anew", needed: true },
  quarantine: { name: "Quarantine", does: "Let this source's answers count for nothing from now on, until it is released.", yes: "Quarantine" },
  revoke: {
    name: "Revoke",
    does: "Take this source's answers out of scores and trust, and let it count for nothing more, until it is released.",
    yes: "Revoke",
    danger: true,
  },
  release: { name: "Release", does: "Let this source's answers count again.", yes: "Release" },
};

const placed = (scope) => (scope === ALL ? "every scope" : `scope ${scope}`);

/**
 * Buttons for commands. A press asks, with the focus in the reason; Enter or a second press sends it; Escape takes it back.
 *
 * @param {string[]} names of the commands, in order
 * @param {{scope: string, me: object, done: function, subject?: function(): string}} about `done` is called when the command is on the
 *   log, `subject` gives the source that it is about
 * @returns {HTMLElement}
 */
export function commands(names, { scope, me, done, subject = () => "" }) {
  if (me.role !== "admin") return h("p", { class: "quiet" }, `Commands need the role admin; yours is ${me.role}.`);
  const told = h("p", { class: "told" });
  const buttons = names.map((name) => {
    return h("button", { type: "button", class: name === "kill" ? "danger" : null, "data-command": name, onclick: () => command(name) }, COMMANDS[name].name);
  });

  async function command(name) {
    if (buttons.some((each) => each.hasAttribute("aria-disabled"))) return;
    told.textContent = "";
    // A token says who commands; another name beside it is refused.
    const operator = me.tokens ? null : await nameSelf();
    if (!me.tokens && !operator) return;
    const source = subject();
    const body = await confirmed(name, scope, source);
    if (!body) return;
    buttons.forEach((each) => each.setAttribute("aria-disabled", "true"));
    say("Sent; waiting until it is in force…");
    try {
      const { body: effect } = await post("/control", operator ? { ...body, operator } : body);
      say(came(body, effect), Boolean(effect.refused) || effect.in_force === false);
      done();
    } catch (problem) {
      say(problem.passing ? `It is not known whether the command was sent: ${problem.message}` : `Not sent: ${problem.message}`, true);
    }
    buttons.forEach((each) => each.removeAttribute("aria-disabled"));
  }

  function say(text, bad = false) {
    told.textContent = text;
    told.classList.toggle("problem", bad);
    announce(text);
  }

  return h("div", { class: "commands" }, h("div", { class: "row" }, ...buttons), told);
}

async function confirmed(name, scope, source) {
  const { does, yes, danger, needed } = COMMANDS[name];
  const reason = h("input", { name: "reason", type: "text", maxlength: "4000", autocomplete: "off", autofocus: true, required: needed });
  const reach = h("select", { name: "reach" }, h("option", { value: scope }, `only ${scope}`), h("option", { value: ALL }, "every scope"));
  // The key that opened this, still held down, must not confirm it.
  const once = (event) => event.key === "Enter" && event.repeat && event.preventDefault();
  const content = h("div", { class: "confirm", onkeydown: once },
    h("p", {}, does),
    h("label", {}, needed ? "Why: needed, and on record" : "Why: on record", reason),
    h("label", {}, "Where", reach));
  const title = `${COMMANDS[name].name}${source ? ` ${source}` : ""}?`;
  const fields = await ask(title, [content], yes, { danger });
  if (!fields) return null;
  return { command: name, ...(fields.get("reach") === ALL ? {} : { scope }), subject: source, reason: fields.get("reason").trim() };
}

/** What came of a command, as a sentence. */
function came(body, effect) {
  const what = `${COMMANDS[body.command].name}${body.subject ? ` ${body.subject}` : ""} in ${placed(body.scope ?? ALL)}`;
  if (effect.refused) return `${what}: refused. ${effect.refused}`;
  const taken = { true: `is in force, after ${Math.round(effect.delay_ms)} ms`, false: "is on the log, and not every deciding task has taken it yet" };
  const nothing = body.command === "resume" && !effect.took_back?.length ? " There was nothing of this reach to take back." : "";
  const back = effect.took_back?.length ? ` It takes back: ${effect.took_back.join(", ")}.` : nothing;
  const remains = effect.remains?.length ? ` It leaves in force: ${effect.remains.join(", ")}.` : "";
  const unseen = effect.unseen ? ` No record of late is of this scope.` : "";
  return `${what} ${taken[effect.in_force] ?? "is on the log"}.${back}${remains}${unseen}`;
}
