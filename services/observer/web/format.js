// Numbers and elements for people.

const SECOND = 1e9;

/** A time that has passed, in the two units that matter. */
export function span(ns) {
  const seconds = Math.max(0, Math.floor(ns / SECOND));
  for (const [size, unit, smaller, small] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "m"],
    [60, "m", 1, "s"],
  ]) {
    if (seconds >= size) {
      const rest = Math.floor((seconds % size) / smaller);
      return `${Math.floor(seconds / size)}${unit}${rest ? ` ${rest}${small}` : ""}`;
    }
  }
  return `${seconds}s`;
}

export function nowNs() {
  return Date.now() * 1e6;
}

export function clock(ns) {
  return new Date(ns / 1e6).toTimeString().slice(0, 8);
}

export function bytes(value) {
  if (value == null) return "–";
  let unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

export function milliseconds(seconds) {
  const ms = seconds * 1000;
  return ms >= 1000 ? `${seconds.toFixed(1)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** An HTML element; text only ever becomes text. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** The name of a part for people. */
export function nameOf(part) {
  return part.container?.name ?? part.id;
}

const CONTAINERS_OWN = ["paused", "restarting"];

/** The state that a part is shown in: a container's own where its supervisor runs all the same. */
export function stateOf(part) {
  const own = part.container?.state;
  return part.state === "running" && CONTAINERS_OWN.includes(own) ? own : part.state;
}

const CONTAINER = /^root\/engine\/containers\/running\/([0-9a-f]{64})(\/|$)/;

/** The path of what is seen in the tree of a path: a container's part shows in its container. */
export function shownPath(path) {
  const found = CONTAINER.exec(path);
  return found ? `root/engine/containers/running/${found[1]}` : path;
}
