// The end of a container's log as it grows. Lines beyond KEPT go; scrolled up, it stays where it is.

import { follow } from "./api.js";
import { h } from "./format.js";

const KEPT = 500;
const NEAR_PX = 30;

export class LogTail {
  constructor(element, id) {
    this.element = element;
    this.stop = follow(`/containers/${id}/logs?tail=100`, {
      lines: (lines) => this.add(lines),
      end: () => this.note("the run has ended"),
    });
  }

  close() {
    this.stop();
  }

  add(lines) {
    const { element } = this;
    const stays = element.scrollHeight - element.scrollTop - element.clientHeight > NEAR_PX;
    const fragment = document.createDocumentFragment();
    for (const [stream, text] of lines) {
      const space = text.indexOf(" ");
      const time = text.slice(11, 19);
      fragment.append(
        h("li", { "data-stream": stream }, h("time", {}, time), ` ${text.slice(space + 1)}`),
      );
    }
    element.append(fragment);
    while (element.childElementCount > KEPT) element.firstElementChild.remove();
    if (!stays) element.scrollTop = element.scrollHeight;
  }

  note(text) {
    this.element.append(h("li", { class: "note" }, text));
  }
}
