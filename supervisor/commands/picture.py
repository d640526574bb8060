"""The tree on a terminal: colours by state where there are colours, the same words where not."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

Part = dict[str, Any]

COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "running": "green",
        "starting": "yellow",
        "stopping": "yellow",
        "restarting": "bold red",
        "stopped": "bright_black",
    }
)
RECENT_NS: Final = 3600 * 10**9
"""A crash longer ago is a number only."""

_SECOND_NS: Final = 10**9


def make_console() -> Console:
    """Standard output. What is no terminal gets whole lines and no colours."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=10_000, no_color=True, force_terminal=False)


def render(tree: Part, *, now_ns: int, flashing: Collection[str] = ()) -> Tree:
    """The tree; parts whose path is in `flashing` are lit up."""
    drawn = Tree(line(tree, now_ns, flashing), guide_style="bright_black")
    _add_children(drawn, tree, now_ns, flashing)
    return drawn


def _add_children(drawn: Tree, part: Part, now_ns: int, flashing: Collection[str]) -> None:
    children = part.get("children", ())
    for child in children:
        branch = drawn.add(line(child, now_ns, flashing))
        _add_children(branch, child, now_ns, flashing)
    supervisor = part.get("supervisor")
    if supervisor and not part.get("container"):
        hidden = supervisor["child_count"] - len(children)
        if hidden > 0:
            drawn.add(Text(f"{hidden} more", style="bright_black"))


def line(part: Part, now_ns: int, flashing: Collection[str] = ()) -> Text:
    """What is said of one part."""
    state = part["state"]
    text = Text(no_wrap=True, overflow="ellipsis")
    container = part.get("container")
    name = container["name"] if container else part["id"]
    style = "bold" if part["type"] == "supervisor" else ""
    text.append(name, style="cyan" if container else style)
    text.append("  ")
    text.append(state, style=COLOURS.get(state, ""))
    if part.get("since_ns"):
        text.append(f" {span(now_ns - part['since_ns'])}", style="bright_black")
    if container:
        _say_container(text, container)
    if part.get("restarts"):
        text.append(f"  {counted(part['restarts'], 'restart')}", style="yellow")
    _say_supervisor(text, part.get("supervisor"))
    _say_crash(text, part, now_ns)
    if part["path"] in flashing:
        text.stylize("reverse red")
    return text


def _say_container(text: Text, container: Mapping[str, str]) -> None:
    text.append(f"  {container['id'][:12]} {container['image']}", style="bright_black")
    if container["state"] != "running":
        text.append(f"  {container['state']}", style="yellow")
    if container["health"]:
        healthy = container["health"] == "healthy"
        text.append(f"  {container['health']}", style="green" if healthy else "yellow")


def _say_supervisor(text: Text, supervisor: Mapping[str, Any] | None) -> None:
    """Of the intensity only what is not as it always is."""
    if supervisor and supervisor["restarts_left"] < supervisor["max_restarts"]:
        left, most = supervisor["restarts_left"], supervisor["max_restarts"]
        text.append(
            f"  {left} of {most} restarts left in {supervisor['window_s']:g} s",
            style="yellow" if left else "bold red",
        )


def _say_crash(text: Text, part: Part, now_ns: int) -> None:
    crash = part.get("last_crash")
    if not crash:
        return
    text.append(f"  {counted(part['crashes'], 'crash', 'crashes')}", style="red")
    if now_ns - crash["at_ns"] < RECENT_NS:
        text.append(f", {span(now_ns - crash['at_ns'])} ago: {crash['error']}", style="red")


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 restart", "2 restarts"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def span(nanoseconds: int) -> str:
    """A time that has passed, in the two units that matter."""
    seconds = max(0, nanoseconds) // _SECOND_NS
    for size, unit, smaller, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}" + (f"{rest}{small}" if rest else "")
    return f"{seconds}s"
