"""The task census: every trio task, the part that it belongs to, what it waits for and how long.

How long is measured by `WaitClock`, which looks at all tasks from time to time: a task that has
not taken a step between two looks has waited since the first of them, at least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
import trio

from supervisor.otp import path_of_task

LOOK_S: Final = 2.0
MOST_OF_THE_TIME: Final = 0.001
"""With very many tasks the looks come further apart: they may take this share of the time."""

AT_ONCE: Final = 500  # tasks looked at before others have a turn
FRAMES: Final = 50  # of a stack; a coroutine that awaits itself would give them without end
TASKS_LIMIT: Final = 5_000  # in one answer; the rest is counted

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NurseryManager.__aexit__": "its child tasks",
        "run_aio_future": "containerd",
        "to_thread_run_sync": "a thread",
        "SupervisorBase._park": "its children and calls",
    }
)
"""What some functions are called for people."""

_ROOT: Final = Path(__file__).resolve().parents[2]
_FOREIGN: Final = ("/site-packages/", "/dist-packages/", "/lib/python3")


class TaskEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One task at one moment."""

    name: str
    part: str  # the path of the part whose task it is; empty: of none
    depth: int  # how many tasks are above it
    waits_for: str  # the function of trio's, or whose it is, that ours has called
    at: str  # the innermost line of ours, "file:line in function"
    waited_s: float  # at least; 0 also if that is not known yet
    stack: Sequence[str]  # innermost first


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks, parents before children."""

    taken_ns: int
    total: int
    left_out: int
    tasks: Sequence[TaskEntry]
    waits: dict[str, int]  # how many of those listed wait for what


class WaitClock:
    """Knows how long tasks have waited. `run` is a supervised child."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[trio.lowlevel.Task, tuple[int, float]] = WeakKeyDictionary()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled."""
        task_status.started()
        while True:
            spent_s = await self._look()
            await trio.sleep(max(LOOK_S, spent_s / MOST_OF_THE_TIME))

    def waited_s(self, task: trio.lowlevel.Task) -> float:
        """For so long it has not taken a step, at least."""
        steps, since = self._seen.get(task, (-1, 0.0))
        return trio.current_time() - since if steps == _steps(task) else 0.0

    async def _look(self) -> float:
        """Note each task's steps; how long that took."""
        spent_s, began = 0.0, trio.current_time()
        # The list is of one moment; a task that has ended since does no harm.
        for number, (task, _) in enumerate(list(walk_tasks()), 1):
            steps = _steps(task)
            known = self._seen.get(task)
            if known is None or known[0] != steps:
                self._seen[task] = (steps, trio.current_time())
            if number % AT_ONCE == 0:
                spent_s += trio.current_time() - began
                await trio.lowlevel.checkpoint()
                began = trio.current_time()
        return spent_s + trio.current_time() - began


def _steps(task: trio.lowlevel.Task) -> int:
    """How often the task was scheduled.

    trio counts that for its own assertions and does not promise to; an instrument, which it does
    promise, would cost every step of every task as much as a tenth of it. A test looks after this.
    """
    return int(getattr(task, "_schedule_points", 0))


def walk_tasks() -> Iterator[tuple[trio.lowlevel.Task, int]]:
    """Every task of this trio run with its depth, parents before children."""
    root = trio.lowlevel.current_root_task()
    pending = [] if root is None else [(root, 0)]
    while pending:
        task, depth = pending.pop()
        yield task, depth
        for nursery in reversed(task.child_nurseries):
            children = sorted(nursery.child_tasks, key=lambda child: child.name, reverse=True)
            pending += [(child, depth + 1) for child in children]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A task as it was, before any text is made of it."""

    name: str
    part: str
    depth: int
    waited_s: float
    frames: Sequence[tuple[str, int, str]]  # file, line, function; outermost first


async def take_census(clock: WaitClock, *, taken_ns: int, part: str = "") -> Census:
    """All tasks, or those of the part at path `part` and below, at one moment.

    That moment is a hold-up of the loop: 10 us a task. The texts are made in a thread.
    """
    seen = list(_see_tasks(clock, part))
    return await trio.to_thread.run_sync(partial(_describe, seen, taken_ns))


def _see_tasks(clock: WaitClock, part: str) -> Iterator[_Seen]:
    for task, depth in walk_tasks():
        path = path_of_task(task) or ""
        if part and path != part and not path.startswith(f"{part}/"):
            continue
        frames = [
            (frame.f_code.co_filename, line, frame.f_code.co_qualname)
            for frame, line in islice(task.iter_await_frames(), FRAMES)
        ]
        yield _Seen(task.name, path, depth, clock.waited_s(task), frames)


def _describe(seen: Sequence[_Seen], taken_ns: int) -> Census:
    entries = [_entry(one) for one in seen[:TASKS_LIMIT]]
    waits = Counter(entry.waits_for for entry in entries)
    return Census(
        taken_ns=taken_ns,
        total=len(seen),
        left_out=len(seen) - len(entries),
        tasks=entries,
        waits=dict(waits.most_common()),
    )


def _entry(seen: _Seen) -> TaskEntry:
    frames = seen.frames
    ours = [index for index, (file, _, _) in enumerate(frames) if is_ours(file)]
    last = ours[-1] if ours else -1
    after = frames[last + 1][2] if last + 1 < len(frames) else "runs"
    if ours and frames[last][2] in _WORDS:
        after = frames[last][2]
    return TaskEntry(
        name=seen.name,
        part=seen.part,
        depth=seen.depth,
        waits_for=_WORDS.get(after, after),
        at=_place(frames[last]) if ours else "",
        waited_s=round(seen.waited_s, 3),
        stack=[_place(frame) for frame in reversed(frames)],
    )


def is_ours(file: str) -> bool:
    """Whether a source file is the engine's own."""
    return not any(part in file for part in _FOREIGN)


def _place(frame: tuple[str, int, str]) -> str:
    file, line, function = frame
    return f"{_shown(file)}:{line} in {function}"


@lru_cache(maxsize=1024)  # of a pure function; a program has some hundred files
def _shown(file: str) -> str:
    """A file's name: from the project's folder on, or from that of the package."""
    path = Path(file)
    if path.is_relative_to(_ROOT) and is_ours(file):
        return str(path.relative_to(_ROOT))
    return file.rpartition("-packages/")[2]
