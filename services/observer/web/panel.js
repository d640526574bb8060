// What is known of one part: state, supervision, its last crash with the traceback, its tasks; of a
// container also what it uses and what it says.

import { follow, getPart, getTasks } from "./api.js";
import { clock, counted, h, nameOf, nowNs, span, stateOf } from "./format.js";
import { LogTail } from "./logtail.js";
import { Plots } from "./plots.js";

export class Panel {
  constructor(element, { onRestart, onClose }) {
    this.element = element;
    this.onRestart = onRestart;
    this.onClose = onClose;
    this.path = null;
    this.isByItself = false; // opened by a crash, not by hand
    this.closers = [];
  }

  get isOpen() {
    return this.path !== null;
  }

  async open(path, { byItself = false } = {}) {
    if (this.path === path) return this.refresh();
    this.closeStreams();
    this.path = path;
    this.isByItself = byItself;
    this.element.hidden = false;
    this.element.replaceChildren(h("p", { class: "muted" }, "…"));
    return this.refresh(true);
  }

  close() {
    this.closeStreams();
    this.path = null;
    this.element.hidden = true;
    this.element.replaceChildren();
    this.onClose();
  }

  closeStreams() {
    this.closers.forEach((close) => close());
    this.closers = [];
  }

  async refresh(isNew = false) {
    const path = this.path;
    if (path === null) return;
    let part;
    try {
      part = await getPart(path);
    } catch (error) {
      if (this.path === path) this.gone(error);
      return;
    }
    if (this.path !== path) return;
    if (isNew || !this.head) this.build(part);
    this.say(part);
  }

  gone(error) {
    this.closeStreams();
    this.head = null;
    this.element.replaceChildren(
      h("div", { class: "panel-head" }, h("h2", {}, "Not there"), this.closeButton()),
      h("p", { class: "muted" }, error.message),
    );
  }

  closeButton() {
    return h(
      "button",
      { type: "button", class: "quiet close", "aria-label": "Close", onclick: () => this.close() },
      "✕",
    );
  }

  build(part) {
    this.head = h("div", { class: "panel-head" });
    this.facts = h("dl", { class: "facts-list" });
    this.actions = h("div", { class: "actions" });
    this.crash = h("section", { class: "crash", "aria-label": "Last crash" });
    this.below = h("section", { class: "below" });
    this.element.replaceChildren(this.head, this.facts, this.actions, this.crash);
    if (part.container) this.buildContainer(part.container);
    this.element.append(this.below);
    this.tasks = h("ol", { class: "tasks" });
    const details = h("details", { class: "census" }, h("summary", {}, "Tasks"), this.tasks);
    details.addEventListener("toggle", () => details.open && this.sayTasks());
    this.element.append(details);
  }

  buildContainer(container) {
    const plots = h("div", { class: "plots" });
    const log = h("ol", { class: "log", tabindex: "0", "aria-label": "Log" });
    this.element.append(
      h("section", {}, h("h3", {}, "Use"), plots),
      h("section", { class: "log-section" }, h("h3", {}, "Log"), log),
    );
    const drawn = new Plots(plots);
    const tail = new LogTail(log, container.id);
    const stop = follow(`/containers/${container.id}/usage`, { usage: (u) => drawn.add(u) });
    this.closers.push(() => drawn.close(), () => tail.close(), stop);
  }

  say(part) {
    this.head.replaceChildren(
      h("i", { class: "dot", "data-state": stateOf(part) }),
      h("h2", {}, nameOf(part)),
      this.closeButton(),
      h("p", { class: "path" }, part.container ? part.container.image : part.path),
    );
    this.facts.replaceChildren(...facts(part).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    this.actions.replaceChildren(...this.buttons(part));
    this.sayCrash(part);
    this.sayBelow(part);
  }

  buttons(part) {
    const button = h(
      "button",
      { type: "button", class: "restart", onclick: () => this.onRestart(part) },
      "↻ Restart",
    );
    if (part.can_restart) return [button];
    button.disabled = true;
    return [button, h("span", { class: "muted" }, `Not by hand: ${part.why_not ?? ""}`)];
  }

  sayCrash(part) {
    const crash = part.last_crash;
    this.crash.hidden = !crash;
    if (!crash) return;
    const text = `${crash.at_ns}`;
    if (this.crash.dataset.at === text && this.crash.dataset.path === part.path) {
      this.crash.querySelector(".ago").textContent = `${span(nowNs() - crash.at_ns)} ago`;
      return;
    }
    this.crash.dataset.at = text;
    this.crash.dataset.path = part.path;
    this.crash.replaceChildren(
      h(
        "h3",
        {},
        "Last crash ",
        h("span", { class: "ago" }, `${span(nowNs() - crash.at_ns)} ago`),
        h("span", { class: "at" }, clock(crash.at_ns)),
      ),
      h("p", { class: "error" }, crash.error),
      h("pre", { tabindex: "0", "aria-label": "Traceback" }, crash.traceback ?? ""),
    );
    const pre = this.crash.querySelector("pre");
    pre.scrollTop = pre.scrollHeight; // the end of a traceback says what happened
  }

  sayBelow(part) {
    const children = (part.children ?? []).slice(0, 50);
    this.below.hidden = !children.length;
    this.below.replaceChildren(
      h("h3", {}, part.container ? "What watches over it" : "Parts"),
      h("ul", {}, ...children.map((child) => this.row(child))),
    );
  }

  row(child) {
    const words = [child.state];
    if (child.restarts) words.push(counted(child.restarts, "restart"));
    if (child.crashes) words.push(counted(child.crashes, "crash", "crashes"));
    const name = h(
      "button",
      { type: "button", class: "link-button", onclick: () => this.open(child.path) },
      nameOf(child),
    );
    const row = h(
      "li",
      {},
      h("i", { class: "dot", "data-state": child.state }),
      name,
      h("span", { class: "muted" }, words.join(", ")),
    );
    if (child.can_restart) {
      row.append(
        h(
          "button",
          {
            type: "button",
            class: "quiet small",
            "aria-label": `Restart ${nameOf(child)}`,
            onclick: () => this.onRestart(child),
          },
          "↻",
        ),
      );
    }
    return row;
  }

  async sayTasks() {
    const census = await getTasks(this.path);
    const tasks = census.tasks.slice(0, 100);
    this.tasks.replaceChildren(
      ...tasks.map((task) =>
        h(
          "li",
          { title: task.stack.join("\n") },
          h("b", {}, span(task.waited_s * 1e9)),
          h("span", {}, `waits for ${task.waits_for}`),
          h("code", {}, task.at),
        ),
      ),
    );
  }
}

function facts(part) {
  const rows = [["State", `${part.state}${part.since_ns ? ` for ${span(nowNs() - part.since_ns)}` : ""}`]];
  if (part.container) {
    rows.push(["Container", `${part.container.id.slice(0, 12)}, ${part.container.state}`]);
    if (part.container.health) rows.push(["Health", part.container.health]);
  }
  rows.push(["Restarts", String(part.restarts ?? 0)], ["Crashes", String(part.crashes ?? 0)]);
  if (part.container) return rows; // those are of what watches over it
  if (part.restart) rows.push(["Restarted", { permanent: "always", transient: "after a crash", temporary: "never" }[part.restart]]);
  const s = part.supervisor;
  if (s) {
    rows.push(["Strategy", s.strategy.replaceAll("_", " ")]);
    rows.push(["Patience", `${s.restarts_left} of ${s.max_restarts} restarts left in ${s.window_s} s`]);
  }
  return rows;
}
