// The reports as a list, newest first; a click leads to the part.

import { clock, h, shownPath } from "./format.js";

const KEPT = 200;
const WORDS = {
  progress: "ready",
  child_terminated: "crashed",
  start_error: "did not start",
  shutdown_error: "ended badly",
  shutdown: "gives up",
  stuck: "does not end",
  renewal: "restart asked for",
};

export function isFailure(report) {
  return report.kind !== "progress" && report.kind !== "renewal";
}

export class Feed {
  constructor(element, { names, onOpen }) {
    this.element = element;
    this.names = names;
    this.onOpen = onOpen;
  }

  add(report) {
    this.element.prepend(this.line(report));
    while (this.element.childElementCount > KEPT) this.element.lastElementChild.remove();
  }

  note(text) {
    this.element.prepend(h("li", { class: "note" }, text));
  }

  line(report) {
    const failed = isFailure(report);
    return h(
      "li",
      { class: failed ? "is-failure" : report.kind === "renewal" ? "is-asked" : "" },
      h("time", {}, clock(report.at_ns)),
      h("b", {}, report.kind === "progress" && report.restarts ? "recovered" : WORDS[report.kind]),
      h(
        "button",
        { type: "button", class: "link-button", onclick: () => this.onOpen(shownPath(report.path)) },
        this.names(report.path),
      ),
      report.error ? h("span", { class: "error" }, report.error) : null,
    );
  }
}
