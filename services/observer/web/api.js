// The way to the engine: questions, changes, and streams that come back by themselves.

const V1 = "v1";

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

export function getTree() {
  return fetch(`${V1}/tree`).then(answered);
}

export function getPart(path) {
  return fetch(`${V1}/parts/${escaped(path)}`).then(answered);
}

export function getCrashes() {
  return fetch(`${V1}/crashes`).then(answered);
}

export function getLag() {
  return fetch(`${V1}/lag`).then(answered);
}

export function getTasks(path) {
  return fetch(`${V1}/tasks?part=${encodeURIComponent(path)}`).then(answered);
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
