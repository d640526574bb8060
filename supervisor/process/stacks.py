"""What every task and every thread of this process is doing, as text: what SIGQUIT asks for."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from traceback import StackSummary
from types import FrameType
from typing import Final

import trio

# A coroutine that awaits itself would give frames without end.
_MAX_FRAMES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One task or thread at one moment."""

    title: str
    depth: int  # how many nurseries are above it
    frames: StackSummary  # outermost first; source lines are read when it is formatted


def task_stacks() -> list[Stack]:
    """Every task of this trio run, parents before children. Awaits nothing: all at one moment."""
    root = trio.lowlevel.current_root_task()
    return [] if root is None else list(_walk(root))


def _walk(root: trio.lowlevel.Task) -> Iterator[Stack]:
    """Depth first, without recursion: a tree may be deeper than Python's stack."""
    pending = [(root, 0, "")]
    while pending:
        task, depth, nursery_note = pending.pop()
        frames = islice(task.iter_await_frames(), _MAX_FRAMES)
        yield Stack(
            title=f"task {task.name}{nursery_note}",
            depth=depth,
            frames=StackSummary.extract(frames, lookup_lines=False),
        )
        for index, nursery in reversed(list(enumerate(task.child_nurseries))):
            note = f" (nursery {index} of its parent)" if len(task.child_nurseries) > 1 else ""
            # Names give an order that is the same from one dump to the next; a set has none.
            children = sorted(nursery.child_tasks, key=lambda child: child.name, reverse=True)
            pending += [(child, depth + 1, note) for child in children]


def thread_stacks() -> list[Stack]:
    """Every Python thread of this process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        Stack(
            title=f"thread {names.get(ident, '?')} ({ident})",
            depth=0,
            frames=StackSummary.extract(_outermost_first(frame), lookup_lines=False),
        )
        for ident, frame in sys._current_frames().items()
    ]


def _outermost_first(innermost: FrameType) -> list[tuple[FrameType, int]]:
    frames: list[tuple[FrameType, int]] = []
    frame: FrameType | None = innermost
    while frame is not None and len(frames) < _MAX_FRAMES:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return frames[::-1]


def format_stacks(stacks: list[Stack]) -> str:
    """The text for people. Reads source files; not for the event loop."""
    parts: list[str] = []
    for stack in stacks:
        indent = "  " * stack.depth
        lines = "".join(stack.frames.format()).splitlines()
        parts += [f"{indent}{stack.title}", *(indent + line for line in lines), ""]
    return "\n".join(parts)


async def dump_stacks(folder: Path) -> Path:
    """Write all stacks to a new file in `folder`, which exists, and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    stacks = [*task_stacks(), *thread_stacks()]
    moment = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H%M%S", time.gmtime(moment // 10**9))
    path = folder / f"task-stacks-{stamp}.{moment % 10**9:09d}Z.log"
    await trio.to_thread.run_sync(_write, path, stacks, abandon_on_cancel=True)
    return path


def _write(path: Path, stacks: list[Stack]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(format_stacks(stacks))
