// The way to the engine: questions, changes, and streams that come back by themselves.

const V1 = "v1";
const PATIENCE_MS = 10000; // an answer that is out of memory is there at once, or never

async function answered(response) {
  if (response.ok) return response.json();
  let message = `the engine answered with status ${response.status}`;
  try {
    message = (await response.json()).message ?? message;
  } catch {
    // the status has to do
  }
  throw new Error(message);
}

function escaped(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

function get(path) {
  return fetch(`${V1}${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) }).then(answered);
}

export function getTree() {
  return get("/tree");
}

export function getPart(path) {
  return get(`/parts/${escaped(path)}`);
}

export function getCrashes() {
  return get("/crashes");
}

export function getLag() {
  return get("/lag");
}

export function getTasks(path) {
  return get(`/tasks?part=${encodeURIComponent(path)}`);
}

export function restart(path) {
  const url = `${V1}/parts/${escaped(path)}/restart`;
  return fetch(url, { method: "POST", headers: { "X-Wharfinger": "page" } }).then(answered);
}

/** Follow a stream; `handlers` by the kind of event. Returns what ends it. */
export function follow(path, handlers, onState = () => {}) {
  const source = new EventSource(`${V1}${path}`);
  source.onopen = () => onState("live");
  source.onerror = () => onState(source.readyState === EventSource.CLOSED ? "gone" : "connecting");
  for (const [kind, handle] of Object.entries(handlers)) {
    source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  }
  if (!handlers.end) source.addEventListener("end", () => source.close());
  else source.addEventListener("end", () => source.close(), { once: true });
  return () => source.close();
}
