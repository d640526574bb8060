"""supervisor.commands: the tree as text, parts by name, reports as lines and as events."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from supervisor.commands.client import ClientError
from supervisor.commands.events import ServerEvent, read_events
from supervisor.commands.live import lit_by, report_line
from supervisor.commands.paths import find_part
from supervisor.commands.picture import render, span

S = 10**9
NOW = 1_000_000 * S
ID = "ab" * 32
RUNNING = "root/engine/containers/running"


def part(path: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "id": path.rpartition("/")[2],
        "type": "supervisor" if children else "worker",
        "state": "running",
        "since_ns": NOW - 90 * S,
        "children": list(children),
    } | more


def supervisor(left: int, count: int) -> dict[str, Any]:
    return {
        "strategy": "one_for_one",
        "max_restarts": 3,
        "window_s": 60.0,
        "restarts_left": left,
        "child_count": count,
    }


CONTAINER = {"id": ID, "name": "web", "image": "busybox", "state": "paused", "health": "healthy"}
TREE = part(
    "root",
    part(
        "root/store",
        part(
            "root/store/database",
            state="restarting",
            restarts=2,
            crashes=2,
            last_crash={"at_ns": NOW - 5 * S, "error": "OSError: disk full"},
        ),
        supervisor=supervisor(1, 1),
    ),
    part(f"{RUNNING}/{ID}", container=CONTAINER, supervisor=supervisor(3, 3)),
    part(
        "root/images",
        restarts=1,
        crashes=1,
        last_crash={"at_ns": NOW - 7200 * S, "error": "ValueError: long ago"},
    ),
    supervisor=supervisor(3, 4),
)


def shown(**options: Any) -> str:
    out = io.StringIO()
    tree = render(TREE, now_ns=NOW, flashing=["root/images"])
    Console(file=out, width=200, **options).print(tree)
    return out.getvalue()


def test_the_tree_as_text() -> None:
    """State, age, restarts, crashes, what is left of patience; only what is not as always."""
    lines = [line.rstrip() for line in shown(no_color=True).splitlines()]
    assert lines == [
        "root  running 1m30s",
        "├── store  running 1m30s  1 of 3 restarts left in 60 s",
        "│   └── database  restarting 1m30s  2 restarts  2 crashes, 5s ago: OSError: disk full",
        f"├── web  running 1m30s  {ID[:12]} busybox  paused  healthy",
        "├── images  running 1m30s  1 restart  1 crash",
        "└── 1 more",
    ]


def test_colours_only_on_a_terminal() -> None:
    """And there a crash is lit up."""
    assert "\x1b" not in shown()
    assert "\x1b[7;31mimages" in shown(force_terminal=True, color_system="standard")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(-5, "0s"), (59 * S, "59s"), (60 * S, "1m"), (3661 * S, "1h1m"), (90_000 * S, "1d1h")],
)
def test_spans(nanoseconds: int, text: str) -> None:
    """The two units that matter."""
    assert span(nanoseconds) == text


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("root/store/database", "root/store/database"),
        ("store/database", "root/store/database"),
        ("database", "root/store/database"),
        ("/root/images/", "root/images"),
        ("web", f"{RUNNING}/{ID}"),
        ("abab", f"{RUNNING}/{ID}"),
    ],
)
def test_parts_by_the_names_that_people_give(name: str, path: str) -> None:
    """Its path, with or without root; its end; a container's name or id."""
    assert find_part(TREE, name)["path"] == path


def test_names_that_are_none_or_several() -> None:
    """Refused, with what may have been meant."""
    with pytest.raises(ClientError, match="No such part: base"):
        find_part(TREE, "base")
    twice = part("root", part("root/a", part("root/a/x")), part("root/b", part("root/b/x")))
    with pytest.raises(ClientError, match="root/a/x\n  root/b/x"):
        find_part(twice, "x")


def test_events_are_read_as_browsers_do() -> None:
    """Comments and retry passed over, an event ends with an empty line."""
    lines = [b"retry: 1000", b"", b": hi", b"", b"event: a", b"id: r-1", b'data: {"x": 1}', b""]
    assert list(read_events([*lines, b"event: cut", b"data: {}"])) == [
        ServerEvent("a", "r-1", {"x": 1})
    ]


def test_a_report_is_a_line() -> None:
    """When, what, who, why."""
    report = {
        "at_ns": NOW,
        "kind": "child_terminated",
        "path": "root/a",
        "error": "Boom: x",
    }
    text = report_line(report).plain
    assert text.endswith(" child terminated root/a: Boom: x")
    stuck = {"at_ns": NOW, "kind": "stuck", "path": "root/a", "overdue_s": 3.2, "stack": ["f:1"]}
    assert report_line(stuck).plain.endswith("root/a for 3 s in f:1")


def test_a_containers_part_lights_the_container_up() -> None:
    """Which is the leaf that is seen."""
    assert lit_by({"path": f"{RUNNING}/{ID}/pump"}) == [f"{RUNNING}/{ID}/pump", f"{RUNNING}/{ID}"]
    assert lit_by({"path": "root/store/database"}) == ["root/store/database"]
