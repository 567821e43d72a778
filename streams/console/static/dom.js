// The document: making elements, writing times and numbers, saying things to a screen reader.

/**
 * Make an element.
 *
 * @param {string} tag name of the tag; `svg:path` for one of SVG
 * @param {object} attributes `on...` are listeners, `style` is an object of properties, true sets an empty attribute, and null,
 *   undefined and false set none
 * @param {...(Node|string|number|null|false|Array)} children null and false are left out
 * @returns {Element}
 */
export function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // By the object model: the page's policy forbids the attribute.
    else if (name === "style") for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const two = (number) => String(number).padStart(2, "0");

/** Hour and minute, UTC as everywhere on the page. */
export function clock(time_ms) {
  const date = new Date(time_ms);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}

/** Date, hour and minute, UTC. */
export function stamp(time_ms) {
  return `${new Date(time_ms).toISOString().slice(0, 10)} ${clock(time_ms)}`;
}

/** A span of time in its two largest units, e.g. `3 h 40 min`, `45 s`. */
export function duration(span_ms) {
  const seconds = Math.max(0, Math.round(span_ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** A share as the page writes it: two digits behind the point, `–` where there is none. */
export function share(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

/** `1 host`, `3 hosts`. */
export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Say something to a screen reader, once it has said what it is saying. */
export function announce(text) {
  const region = document.getElementById("live");
  if (!region) return;
  // A line of its own each time: the same words twice are said twice.
  region.append(h("p", {}, text));
  while (region.children.length > 5) region.firstChild.remove();
}

/** Whether what has the focus takes letters, so that keys of the page must not. */
export function takesText(element) {
  return Boolean(element?.closest?.("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]"));
}

/**
 * Ask in a dialog of the browser's own: the focus stays in it, Escape leaves it, and goes back to where it was.
 *
 * @param {string} title what is asked
 * @param {Array} content what is in it, above the buttons
 * @param {string} yes the button that confirms
 * @param {object} options `danger` for what is hard to take back; `no`: the other button
 * @returns {Promise<FormData|null>} the form's fields; null where it was left
 */
export function ask(title, content, yes, { danger = false, no = "Cancel" } = {}) {
  const form = h("form", { method: "dialog" }, h("h2", { id: "asked" }, title), ...content);
  const confirm = h("button", { type: "submit", class: danger ? "primary danger" : "primary", value: "yes" }, yes);
  const dialog = h("dialog", { "aria-labelledby": "asked" }, form);
  const leave = h("button", { type: "button", onclick: () => dialog.close() }, no);
  form.append(h("div", { class: "dialog-buttons" }, no ? leave : null, confirm));
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", () => {
      answer = new FormData(form);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
  });
}
