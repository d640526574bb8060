"""Whether the engine kept its promises: from the history, and from what is there in the end."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from benchlib.http import HttpError

from .history import Fate, History
from .scene import Scene

SETTLE_S: Final = 60.0
_TOLD: Final = re.compile(rb"\[(\d+) bytes of output could not be logged here\]")
STABLE: Final = frozenset({"created", "running", "exited", "restarting"})


def judge(scene: Scene, history: History, since_s: float) -> list[str]:
    """What is wrong, a line each. The nemesis has ended, the engine is up."""
    wrong = list(history.wrong)
    wrong += _settle(scene)
    containers = {
        one["Names"][0].lstrip("/"): one for one in scene.call("GET", "/containers/json?all=1")
    }
    for name, fate in sorted(history.fates.items()):
        wrong += _judge_fate(scene, history, fate, containers.get(name))
    wrong += _judge_events(scene, since_s, {one["Id"] for one in containers.values()})
    return wrong


def _settle(scene: Scene) -> Iterator[str]:
    """The audit finds nothing, soon."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            answer = scene.call("POST", "/wharfinger/v1/audit")
        except (OSError, HttpError) as error:
            answer = {"Clean": False, "Checks": [{"Kind": "audit", "Error": str(error)}]}
        if answer["Clean"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    for check in answer["Checks"]:
        if check.get("Error"):
            yield f"audit of {check['Kind']}: {check['Error']}"
        for finding in check.get("Findings", ()):
            yield f"audit: {finding['Kind']}: {finding['Subject']}: {finding['Text']}"


def _judge_fate(scene: Scene, history: History, fate: Fate, there: Any | None) -> Iterator[str]:
    if fate.exists is True and there is None:
        yield f"{fate.name}: it was acknowledged, and is not there"
    if fate.exists is False and there is not None:
        yield f"{fate.name}: its removal was acknowledged, and it is there"
    if there is None:
        return
    state = scene.call("GET", f"/containers/{there['Id']}/json")["State"]
    if state["Status"] not in STABLE:
        yield f"{fate.name}: it is still {state['Status']}"
    if fate.ran and state["Status"] == "created":
        yield f"{fate.name}: it ran, and is said never to have"
    if fate.code is not None and fate.ran and not fate.was_hit and state["ExitCode"] != fate.code:
        yield f"{fate.name}: exit code {state['ExitCode']} instead of {fate.code}"
    finished = state["FinishedAt"][:19] + "+00:00"
    # One that ends while the disk is full has nowhere to say what is missing.
    if not history.was_full_at(datetime.fromisoformat(finished).timestamp()):
        yield from _judge_log(scene, fate)


def _judge_log(scene: Scene, fate: Fate) -> Iterator[str]:
    """Numbered lines, each once and in order; a restart by policy begins anew at the first.

    What a full disk has kept out is told in the log, to the byte.
    """
    done = scene.safely("logs", fate.name)
    numbers = [int(line) for line in done.stdout.split(b"\n")[:-1] if line.isdigit()]
    first = 1 if fate.lines is not None else 0
    lost_bytes = _bytes_of(range(first, numbers[0])) if numbers else 0
    for before, after in pairwise(numbers):
        if after != first and after <= before:
            yield f"{fate.name}: line {after} follows line {before}"
            return
        if after > before:
            lost_bytes += _bytes_of(range(before + 1, after))
    if fate.lines is not None and fate.ran and not fate.was_hit:
        lost_bytes += _bytes_of(range(numbers[-1] + 1 if numbers else first, fate.lines + 1))
    told_bytes = sum(map(int, _TOLD.findall(done.stdout + done.stderr)))
    if told_bytes < lost_bytes:
        yield f"{fate.name}: {lost_bytes} bytes of output are missing, {told_bytes} are told of"


def _bytes_of(lines: range) -> int:
    return sum(len(str(number)) + 1 for number in lines)


def _judge_events(scene: Scene, since_s: float, there: set[str]) -> Iterator[str]:
    """Of each container one create; as many ends as starts, or one more start if it runs."""
    # The engine's clock was set back and forth by an hour: no time may end the question.
    told = scene.history_of(
        "events", "--since", str(int(since_s) - 7200), "--filter", "type=container", "--format",
        "{{.ID}} {{.Action}}",
    )  # fmt: skip
    counts: dict[str, Counter[str]] = {}
    for line in told.decode().splitlines():
        container_id, _, action = line.partition(" ")
        counts.setdefault(container_id, Counter())[action] += 1
    for container_id, actions in counts.items():
        if actions["create"] > 1 or actions["destroy"] > 1:
            yield f"{container_id[:12]}: made or removed twice by its events: {dict(actions)}"
        open_runs = actions["start"] - actions["die"]
        if open_runs not in (0, 1) or (container_id not in there and open_runs):
            yield f"{container_id[:12]}: {actions['start']} starts, {actions['die']} ends"
        if actions["create"] and container_id not in there and not actions["destroy"]:
            yield f"{container_id[:12]}: it is gone without an event"
