// The HTTP API: requests, problems, and the event stream with resume.

const PREFIX = "/api/v1";
const TOKEN = "npo.token";
const RETRY_MS = [250, 500, 1000, 2000, 4000];
// The server writes a line every 10 s: silence for longer is a connection that is gone without having said so.
const SILENCE_MS = 25_000;
const TIMEOUT_MS = 20_000;

/**
 * What the API could not do. `status` is 0 where it was not reached; `kind` is the problem's own name, e.g. `contradiction`;
 * `message` says what was wrong and what to do.
 */
export class ApiError extends Error {
  constructor(status, kind, detail) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }

  /** Whether the same request may succeed later: the server was not reached, or could not for now. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * How the page stands with its server: `state` is `connecting`, `live` or `lost`, `since_ms` when that began, by the browser's clock;
 * `stale` says why what is shown may be old all the same, and is empty where it is not.
 * It dispatches `change` when the state changes, `stale` when that does, and `unauthorized` when a token is missing or unknown.
 */
export const connection = Object.assign(new EventTarget(), { state: "connecting", since_ms: Date.now(), stale: "" });

/** The streams that are wanted: while there is one, it alone tells whether the connection is live. */
const streams = new Set();

function becomes(state) {
  if (connection.state === state) return;
  connection.state = state;
  connection.since_ms = Date.now();
  connection.dispatchEvent(new Event("change"));
}

/** Say why what is shown could not be read anew; an empty text once it has been. */
export function stale(why) {
  if (connection.stale === why) return;
  connection.stale = why;
  connection.dispatchEvent(new Event("stale"));
}

/** How long to wait before the next attempt, in ms, after so many that failed one after the other. */
export const backoff_ms = (failures) => RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] * (0.75 + Math.random() / 2);

export const token = {
  key: TOKEN,
  get: () => localStorage.getItem(TOKEN),
  set: (value) => (value ? localStorage.setItem(TOKEN, value) : localStorage.removeItem(TOKEN)),
};

function headers(more) {
  const bearer = token.get();
  return bearer ? { Authorization: `Bearer ${bearer}`, ...more } : more;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(PREFIX + path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!streams.size) becomes("lost");
    // A server that is only slow says so to nobody; one that is gone is gone for the streams too, and they find out by dialling anew.
    else if (error.name !== "TimeoutError") streams.forEach((stream) => stream.abort?.abort());
    throw new ApiError(0, "unreachable", "The console's server does not answer.");
  }
  if (!streams.size) becomes("live");
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const kind = String(problem.type ?? "").replace(/^urn:npo:/, "");
  if (response.status === 401) connection.dispatchEvent(new Event("unauthorized"));
  throw new ApiError(response.status, kind, problem.detail || problem.title || `The server answered ${response.status}.`);
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(0, "unreachable", "The connection broke off before the answer was whole.");
  }
}

/** Send a request and read its answer, both within `TIMEOUT_MS`. */
async function exchange(path, options, signal) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException("no answer in time", "TimeoutError")), TIMEOUT_MS);
  try {
    const response = await request(path, { ...options, signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal });
    return { status: response.status, body: await json(response) };
  } finally {
    clearTimeout(timer);
  }
}

/** GET a path under /api/v1, e.g. `/queue?scope=shop`; throws ApiError. */
export async function get(path, signal) {
  return (await exchange(path, { headers: headers({ Accept: "application/json" }) }, signal)).body;
}

/** POST a body as JSON; returns {status, body}; throws ApiError. */
export async function post(path, body) {
  return exchange(path, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
}

/**
 * Follow the event stream: reconnects by itself and goes on behind the last event that it had. While the page is hidden it holds no
 * connection: a browser has six for all tabs of a host.
 *
 * @param {string[]} topics short names, e.g. `recommendation`
 * @param {string|null} scope only this one's; null for all
 * @param {string|null} cursor where to begin: the `cursor` of what is shown; null for now
 * @param {function({event: string, id: string, data: object})} onEvent `event` is the topic, `refused`, or `reset`: the log no longer
 *   holds what followed the cursor, and what is shown must be read anew; the stream goes on from its `id`
 * @returns {function} stop
 */
export function events(topics, scope, cursor, onEvent) {
  const state = { last: cursor, stopped: false, failures: 0, abort: null, timer: null, wake: null };
  const query = new URLSearchParams({ topics: topics.join(",") });
  if (scope) query.set("scope", scope);
  const retry = () => {
    if (document.visibilityState === "hidden") state.abort?.abort();
    else state.wake?.();
  };
  streams.add(state);
  addEventListener("online", retry);
  document.addEventListener("visibilitychange", retry);
  run(`/events?${query}`, state, onEvent);
  return () => {
    state.stopped = true;
    streams.delete(state);
    removeEventListener("online", retry);
    document.removeEventListener("visibilitychange", retry);
    clearTimeout(state.timer);
    state.abort?.abort();
    state.wake?.();
  };
}

async function run(path, state, onEvent) {
  while (!state.stopped) {
    if (document.visibilityState === "hidden") {
      await woken(state);
      continue;
    }
    try {
      await follow(path, state, onEvent);
    } catch (error) {
      // Whatever is wrong with one event must not end the stream; a missing token is asked for, and then tried.
      if (!(error instanceof ApiError) && error.name !== "AbortError" && error.name !== "TypeError") console.error(error);
    }
    clearTimeout(state.timer);
    if (state.stopped) return;
    if (document.visibilityState === "hidden") continue;
    becomes("lost");
    state.failures += 1;
    await woken(state, backoff_ms(state.failures));
  }
}

/** Wait until the stream is woken, or as long as is given. */
async function woken(state, wait_ms = null) {
  let timer = null;
  await new Promise((resolve) => {
    state.wake = resolve;
    if (wait_ms !== null) timer = setTimeout(resolve, wait_ms);
  });
  clearTimeout(timer);
  state.wake = null;
}

async function follow(path, state, onEvent) {
  state.abort = new AbortController();
  const heard = () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(() => state.abort.abort(), SILENCE_MS);
  };
  heard();
  const sent = headers({ Accept: "text/event-stream", ...(state.last ? { "Last-Event-ID": state.last } : {}) });
  const response = await request(path, { headers: sent, signal: state.abort.signal });
  state.failures = 0;
  becomes("live");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parse = parser((message) => {
    if (message.id) state.last = message.id;
    if (message.event) onEvent(message);
  });
  for (;;) {
    const { done, value } = await reader.read();
    if (done || state.stopped) return;
    heard();
    parse(value);
  }
}

/**
 * Parse server-sent events from pieces of text as they come; calls back with {event, id, data} for each whole one.
 *
 * Source: HTML Living Standard, section 9.2.6.
 */
export function parser(onMessage) {
  let rest = "";
  let message = { event: "", id: "", data: [] };
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        const data = message.data.length ? JSON.parse(message.data.join("\n")) : null;
        const { event, id } = message;
        message = { event: "", id: "", data: [] };
        if (event || id) onMessage({ event, id, data });
        continue;
      }
      const [, name, value] = line.match(/^([^:]*):? ?(.*)$/);
      if (name === "data") message.data.push(value);
      else if (name in message) message[name] = value;
    }
  };
}
