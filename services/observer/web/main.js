// The page: a picture of the tree every two seconds and whenever it reports something.

import { follow, getCrashes, getLag, getTree, restart } from "./api.js";
import { milliseconds, nameOf, shownPath } from "./format.js";
import { Feed, isFailure } from "./feed.js";
import { Panel } from "./panel.js";
import { Spark } from "./spark.js";
import { TreeView } from "./tree.js";

const POLL_MS = 2000;
const SOON_MS = 120; // after a report: what it tells of is often followed by more

const $ = (id) => document.getElementById(id);
const parts = new Map(); // by path, of the last picture
let crashes = 0;
let soon = null;

const tree = new TreeView($("tree"), { onOpen: open, onRestart: (path) => ask(parts.get(path)) });
const panel = new Panel($("panel"), { onRestart: ask, onClose: closed });
const feed = new Feed($("feed"), { names: nameAt, onOpen: open });
const spark = new Spark($("lag-spark"));

function open(path) {
  tree.select(path);
  panel.open(path);
  tree.reveal(path);
}

function closed() {
  tree.select(null);
  tree.focus();
}

function nameAt(path) {
  const part = parts.get(shownPath(path));
  const rest = path.slice(shownPath(path).length);
  const shown = part?.container ? `${nameOf(part)}${rest}` : path.replace(/^root\//, "");
  return shown.replace(/[0-9a-f]{64}/g, (id) => id.slice(0, 12));
}

async function picture() {
  soon = null;
  try {
    const drawn = await getTree();
    parts.clear();
    note(drawn);
    tree.draw(drawn);
    summary();
  } catch {
    // the stream says that the engine is away; the last picture stays
  }
}

function note(part) {
  parts.set(part.path, part);
  for (const child of part.children ?? []) note(child);
}

function pictureSoon() {
  soon ??= setTimeout(picture, SOON_MS);
}

function summary() {
  const all = [...parts.values()];
  const containers = all.filter((part) => part.container);
  const own = all.filter((part) => !part.container);
  const running = own.filter((part) => part.state === "running").length;
  const meant = own.filter((part) => part.state !== "stopped").length;
  $("fact-parts").textContent = running === meant ? String(running) : `${running} of ${meant}`;
  $("fact-parts").classList.toggle("is-bad", running !== meant);
  const hidden = parts.get("root/engine/containers/running")?.supervisor?.child_count;
  $("fact-containers").textContent = String(hidden ?? containers.length);
  $("fact-crashes").textContent = String(crashes);
  $("fact-crashes").classList.toggle("is-bad", crashes > 0);
}

function onReport(report) {
  feed.add(report);
  tree.report(report);
  pictureSoon();
  if (isFailure(report)) {
    crashes += 1;
    // What somebody is looking at stays; a crash shows itself where nobody is.
    if (!panel.isOpen || panel.isByItself) show(report);
  }
  if (panel.path && (report.path === panel.path || shownPath(report.path) === panel.path)) {
    panel.refresh();
  }
}

function show(report) {
  tree.select(shownPath(report.path));
  panel.open(report.path, { byItself: true });
  tree.reveal(shownPath(report.path));
}

function ask(part) {
  if (!part) return;
  if (!part.can_restart) {
    feed.note(`${nameAt(part.path)} is not restarted: ${part.why_not}`);
    return;
  }
  const dialog = $("confirm");
  $("confirm-title").textContent = `Restart ${nameOf(part)}?`;
  $("confirm-text").textContent =
    part.costs || "It drains, ends and starts again, alone. Who needs it waits meanwhile.";
  dialog.returnValue = "cancel";
  dialog.onclose = () => dialog.returnValue === "restart" && doRestart(part);
  dialog.showModal();
}

async function doRestart(part) {
  try {
    await restart(part.path);
  } catch (error) {
    feed.note(`${nameAt(part.path)}: ${error.message}`);
  }
  pictureSoon();
  panel.refresh();
}

async function lag() {
  try {
    const { latest_s: latest, longest_s: longest } = await getLag();
    spark.add(latest);
    $("fact-lag").textContent = milliseconds(longest);
    $("fact-lag").classList.toggle("is-bad", longest > 1);
  } catch {
    // as above
  }
}

function onLink(state) {
  $("link").dataset.state = state;
  $("link").textContent = { live: "live", connecting: "connecting", gone: "gone" }[state];
  document.body.classList.toggle("is-away", state !== "live");
  if (state === "gone") setTimeout(listen, POLL_MS);
}

function listen() {
  follow(
    "/reports",
    {
      hello: pictureSoon,
      reset: () => {
        feed.note("another engine answers now");
        pictureSoon();
      },
      missed: ({ count }) => feed.note(`${count} reports were missed`),
      report: onReport,
    },
    onLink,
  );
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && panel.isOpen) panel.close();
  else if (event.key === "t") window.toggleTheme();
  else if (event.key === "?") $("keys").showModal();
});
$("theme").addEventListener("click", () => window.toggleTheme());
$("help").addEventListener("click", () => $("keys").showModal());

await picture();
try {
  for (const crash of await getCrashes()) {
    crashes += 1;
    feed.add(crash);
  }
  summary();
} catch {
  // they come with the stream
}
listen();
lag();
setInterval(() => document.hidden || (picture(), lag(), panel.refresh()), POLL_MS);
