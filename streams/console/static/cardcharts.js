// Charts of cards: drawn while their card can be seen, and no longer.
import { get } from "./api.js";

const AHEAD = "300px 0px";
// Whoever scrolls past does not wait for what he has passed.
const PAUSE_MS = 120;

/** Watch cards: {watch(item), unwatch(item), stop()}. */
export function charts() {
  const items = new Map();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const item = items.get(entry.target);
        if (!item) continue;
        clearTimeout(item.chartTimer);
        if (entry.isIntersecting) item.chartTimer = setTimeout(() => show(item), PAUSE_MS);
        else hide(item);
      }
    },
    { rootMargin: AHEAD },
  );
  return {
    watch: (item) => {
      items.set(item.made.element, item);
      observer.observe(item.made.element);
    },
    unwatch: (item) => {
      observer.unobserve(item.made.element);
      items.delete(item.made.element);
      hide(item);
    },
    stop: () => {
      observer.disconnect();
      for (const item of items.values()) hide(item);
    },
  };
}

async function show(item) {
  if (item.plot) return;
  const turn = (item.chartTurn = (item.chartTurn ?? 0) + 1);
  try {
    const { momentChart } = await import("./chart.js");
    item.moment ??= await get(`/decisions/${encodeURIComponent(item.card.id)}/moment`);
    if (turn === item.chartTurn) item.plot = momentChart(item.made.chart, item.moment, 2);
  } catch {
    if (turn === item.chartTurn) item.made.chart.replaceChildren("The moment's telemetry cannot be shown now.");
  }
}

function hide(item) {
  clearTimeout(item.chartTimer);
  item.chartTurn = (item.chartTurn ?? 0) + 1;
  item.plot?.stop();
  item.plot = null;
}
