// The queue of open recommendations.
import { get } from "./api.js";
import { h } from "./dom.js";

/** The queue. */
export async function view() {
  const queue = await get("/queue");
  return { element: h("section", {}, h("h1", {}, `${queue.open} open`)), stop: () => {}, title: "Queue" };
}
