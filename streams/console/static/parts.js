// Parts that views share.
import { h, stamp } from "./dom.js";

const MANY = 5; // columns from here on do not fit a phone: the table scrolls

/** A titled section, named by its title for links and assistive technology. */
export function section(title, ...parts) {
  const name = title.toLowerCase().replaceAll(" ", "-");
  return h("section", { class: "panel", id: name, "aria-labelledby": `${name}-title` }, h("h2", { id: `${name}-title` }, title), ...parts);
}

const FORCE = {
  killed: "The kill switch is on: nothing is surfaced.",
  frozen: "Frozen: answers move neither scores nor trust.",
  shadow: "In shadow: everything is decided, nothing is surfaced.",
};

/** What somebody has commanded, as one entry of a list of notices. */
export function forceNotice(each) {
  const reach = each.reach === "*" ? "every scope" : each.reach;
  const why = each.reason ? `: “${each.reason}”` : "";
  return h("li", { class: "bad" }, h("b", {}, FORCE[each.what] ?? each.what), ` ${reach}, by ${each.by} at ${stamp(each.time_ms)} UTC${why}`);
}

/** Names beside values. */
export function facts(rows) {
  return h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** Rows under a head, the first cell of each its name; scrolls sideways by itself where the page is narrow. */
export function table(caption, columns, rows) {
  const head = columns.map((name) => h("th", { scope: "col" }, name));
  const body = rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), ...cells.map((cell) => h("td", {}, cell))));
  return h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: columns.length > MANY ? "numbers many" : "numbers" }, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body)));
}
