// The tree on the page: one element a part, kept from picture to picture so that changes move.

import { counted, nameOf, nowNs, shownPath, span, stateOf } from "./format.js";
import { layOut } from "./layout.js";

const SVG = "http://www.w3.org/2000/svg";
const FLASH_MS = 4000;
const LATELY_MS = 60000;

export class TreeView {
  constructor(element, { onOpen, onRestart }) {
    this.element = element;
    this.onOpen = onOpen;
    this.onRestart = onRestart;
    this.links = document.createElementNS(SVG, "svg");
    this.links.setAttribute("aria-hidden", "true");
    this.links.classList.add("links");
    element.append(this.links);
    this.items = new Map(); // path -> {element, link, part, parts of its text}
    this.places = new Map(); // path -> node of the layout
    this.crashedAt = new Map(); // path -> when it was last seen to crash
    this.current = "root"; // where the keyboard is
    this.selected = null;
    element.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("resize", () => this.tree && this.draw(this.tree));
    setInterval(() => this.tick(), 1000);
  }

  draw(tree) {
    this.tree = tree;
    const { nodes, width, height } = layOut(tree, this.room());
    this.element.style.width = `${width}px`;
    this.element.style.height = `${height}px`;
    this.links.setAttribute("width", width);
    this.links.setAttribute("height", height);
    const seen = new Set();
    for (const node of nodes) {
      seen.add(node.part.path);
      this.put(node);
    }
    for (const [path, item] of this.items) {
      if (!seen.has(path)) {
        item.element.remove();
        item.link?.remove();
        this.items.delete(path);
        this.places.delete(path);
      }
    }
    if (!this.items.has(this.current)) this.current = "root";
    this.markCurrent();
  }

  /** The width of the page, whether or not details are beside the tree: it must not jump. */
  room() {
    return document.documentElement.clientWidth - 60;
  }

  put(node) {
    const { part } = node;
    let item = this.items.get(part.path);
    if (!item) {
      item = this.make(node);
      this.items.set(part.path, item);
    }
    this.places.set(part.path, node);
    const { element } = item;
    element.style.transform = `translate(${node.x}px, ${node.y}px)`;
    element.style.width = `${node.width}px`;
    element.style.height = `${node.height}px`;
    item.part = part;
    this.say(item);
    if (item.link) item.link.setAttribute("d", linkPath(node));
    item.link?.setAttribute("data-state", stateOf(part));
  }

  make(node) {
    const { part } = node;
    const element = document.createElement("div");
    element.className = "node";
    if (part.container) element.classList.add("is-container");
    if (part.type === "supervisor" && !part.container) element.classList.add("is-supervisor");
    element.dataset.path = part.path;
    const dot = document.createElement("i");
    const name = document.createElement("span");
    name.className = "name";
    const note = document.createElement("span");
    note.className = "note";
    element.append(dot, name, note);
    if (node.isNote) {
      element.classList.add("is-note");
    } else {
      element.setAttribute("role", "treeitem");
      element.setAttribute("aria-level", String(part.path.split("/").length));
      element.tabIndex = -1;
      element.addEventListener("click", () => this.open(part.path));
      element.addEventListener("focus", () => this.setCurrent(part.path));
    }
    this.element.append(element);
    let link = null;
    if (node.from) {
      link = document.createElementNS(SVG, "path");
      link.dataset.path = part.path;
      this.links.append(link);
    }
    return { element, link, name, note, part };
  }

  say(item) {
    const { part, element } = item;
    const state = stateOf(part);
    element.dataset.state = state;
    item.name.textContent = nameOf(part);
    item.note.textContent = part.restarts ? `↻${part.restarts}` : "";
    const health = part.container?.health ?? "";
    element.dataset.health = health;
    const words = [nameOf(part), part.container ? "container" : part.type, state];
    if (part.restarts) words.push(counted(part.restarts, "restart"));
    if (part.crashes) words.push(counted(part.crashes, "crash", "crashes"));
    element.setAttribute("aria-label", words.join(", "));
    const since = state === part.state && part.since_ns;
    element.title = since
      ? `${part.path}\n${state} for ${span(nowNs() - since)}`
      : `${part.path}\n${state}`;
  }

  /** A report has come: light its part up, and let the way from its supervisor glow. */
  report(report) {
    const path = shownPath(report.path);
    const item = this.items.get(path);
    if (report.kind !== "progress" && report.kind !== "renewal") {
      this.crashedAt.set(path, Date.now());
      item?.element.classList.add("is-late-crash");
    }
    if (!item) return;
    const flash = { progress: "is-born", renewal: "is-asked" }[report.kind] ?? "is-crash";
    for (const target of [item.element, item.link]) {
      if (!target) continue;
      target.classList.remove("is-born", "is-asked");
      if (flash === "is-crash") target.classList.remove("is-crash");
      void target.getBoundingClientRect(); // so that the animation begins anew
      target.classList.add(flash);
      setTimeout(() => target.classList.remove(flash), FLASH_MS);
    }
  }

  tick() {
    const now = Date.now();
    for (const [path, at] of this.crashedAt) {
      if (now - at > LATELY_MS) {
        this.items.get(path)?.element.classList.remove("is-late-crash");
        this.crashedAt.delete(path);
      }
    }
  }

  open(path) {
    this.setCurrent(path);
    this.onOpen(path);
  }

  select(path) {
    this.selected = path;
    for (const [key, item] of this.items) {
      item.element.classList.toggle("is-selected", key === path);
      item.element.setAttribute("aria-selected", String(key === path));
    }
  }

  setCurrent(path) {
    this.current = path;
    this.markCurrent();
  }

  markCurrent() {
    for (const [path, item] of this.items) {
      if (item.element.hasAttribute("role")) item.element.tabIndex = path === this.current ? 0 : -1;
    }
  }

  focus() {
    this.items.get(this.current)?.element.focus();
  }

  onKey(event) {
    const move = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
    if (event.key === "Enter" || event.key === " ") this.open(this.current);
    else if (event.key === "r") this.onRestart(this.selected ?? this.current);
    else if (move[event.key]) this.move(move[event.key]);
    else if (event.key === "Home") this.moveTo("root");
    else return;
    event.preventDefault();
  }

  /** To the nearest part in a direction, as it is drawn. */
  move(direction) {
    const here = this.places.get(this.current);
    let best = null;
    for (const [path, node] of this.places) {
      if (path === this.current || node.isNote) continue;
      const dx = node.x - here.x;
      const dy = node.y - here.y;
      const along = { up: -dy, down: dy, left: -dx, right: dx }[direction];
      const aside = Math.abs(direction === "up" || direction === "down" ? dx : dy);
      if (along < 4) continue;
      const cost = along + aside * 3;
      if (!best || cost < best.cost) best = { path, cost };
    }
    if (best) this.moveTo(best.path);
  }

  moveTo(path) {
    this.setCurrent(path);
    const { element } = this.items.get(path);
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  reveal(path) {
    this.items.get(path)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function linkPath(node) {
  const { from } = node;
  const x1 = from.x + from.width;
  const y1 = from.y + from.height / 2;
  const x2 = node.x;
  const y2 = node.y + node.height / 2;
  const middle = (x1 + x2) / 2;
  if (y1 === y2) return `M${x1} ${y1} L${x2} ${y2}`;
  return `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}
