// Why a recommendation is overridden: the reasons, and the form that asks for one.
import { h } from "./dom.js";

/** Reason codes of an override, by the key that picks them; they travel as they are, the words are the page's. */
export const REASONS = [
  ["not_a_problem", "Nothing is wrong"],
  ["planned_work", "Planned: release, batch, load test"],
  ["wrong_action", "Wrong action"],
  ["too_risky", "Too risky now"],
  ["fault_elsewhere", "The fault is elsewhere"],
  ["in_hand", "Already in hand"],
  ["not_ours", "Not ours to act on"],
  ["duplicate", "Same as another card"],
  ["other", "Other: see the note"],
];

const SAYS = Object.fromEntries(REASONS);

/** A reason in brackets, behind the answer that it is of; empty where there is none. */
export const inBrackets = (reason) => (reason ? ` (${(Object.hasOwn(SAYS, reason) ? SAYS[reason] : reason).toLowerCase()})` : "");

/** Open the reasons in a card: digits pick one, Enter sends, Escape leaves. */
export function openForm(made, item, acts) {
  if (made.form.firstChild) return;
  const radios = REASONS.map(([code, says], place) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: `reason-${item.card.id}`, value: code }),
      h("kbd", { "aria-hidden": "true" }, String(place + 1)),
      h("span", {}, says),
    ),
  );
  const note = h("input", { name: "note", maxlength: 4000, placeholder: "A note, if you like", "aria-label": "Note", autocomplete: "off" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h(
    "form",
    { class: "override-form", novalidate: true },
    h("fieldset", {}, h("legend", {}, `Why override ${item.card.action} on ${item.card.title}?`), h("div", { class: "reasons" }, radios)),
    note,
    wrong,
    h(
      "div",
      { class: "form-buttons" },
      h("button", { type: "submit", class: "primary" }, "Send override", h("kbd", { "aria-hidden": "true" }, "↵")),
      h("button", { type: "button", onclick: () => acts.leave() }, "Leave", h("kbd", { "aria-hidden": "true" }, "esc")),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = form.querySelector("input[type=radio]:checked");
    if (chosen) acts.send(chosen.value, note.value.trim() || null);
    else {
      wrong.textContent = "Pick a reason first: keys 1 to 9.";
      radios[0].firstChild.focus();
    }
  });
  form.addEventListener("keydown", (event) => {
    const place = event.target === note || event.metaKey || event.ctrlKey || event.altKey ? -1 : "123456789".indexOf(event.key);
    if (event.key === "Escape") acts.leave();
    else if (event.key === "Enter" && event.target.type === "radio") form.requestSubmit();
    else if (place >= 0) {
      radios[place].firstChild.checked = true;
      radios[place].firstChild.focus();
      wrong.textContent = "";
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  made.form.replaceChildren(form);
  radios[0].firstChild.focus();
}
