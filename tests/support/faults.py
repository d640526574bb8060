"""Fault points: the steps of a daemon under test over its boundaries, and its death at one of them.

Nothing is sprinkled in the product: the boundary itself is wrapped, in the process of a test's
daemon (see `crashing`), and that enumerates every step of every operation. A step is a change
outside the process: a call that makes containerd change something, a transaction, a link or a
namespace, a file or folder that is made or removed. Its label is its name with its number among
those of that name, so that steps made side by side keep their labels when they change places.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.containerd.connection import Connection
from services.containerd.content_writer import ContentWriter
from services.containerd.ingest_files import IngestFile
from services.containers.runs import shm
from services.events import EventBus
from services.networks.kernel import netns
from services.networks.kernel.rtnetlink import Batch
from services.networks.nft.helper import Nft
from services.registry.session import Session

READING = ("Get", "List", "ListStream", "Stat", "Mounts", "Version", "Info", "Read", "Usage",
           "ListPids", "Metrics", "Status", "ListStatuses", "ListResources", "Plugins", "Server",
           "Wait", "Publish")  # fmt: skip
"""Calls that change nothing: to die at one is to die after the step before it."""

DURING_S = (0.0005, 0.06)
"""How long after a call was begun `during` kills; runc takes some 50 ms for what it does."""

_ID = re.compile(r"[0-9a-f]{12,64}|(?<=veth)[0-9a-f]{8}")


def points_of(labels: Sequence[str]) -> list[FaultPoint]:
    """The points of steps that came in this order: after one is before the next."""
    first = [FaultPoint(step=label, side="before") for label in labels[:1]]
    return first + [
        FaultPoint(step=label, side=side)
        for label in labels
        for side in (("during", "after") if label.startswith("containerd ") else ("after",))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPoint:
    """Where to die: "before", "during" or "after" the step with this label."""

    step: str
    side: str

    def __str__(self) -> str:
        return f"{self.side} {self.step}"

    @classmethod
    def parse(cls, text: str) -> FaultPoint:
        """From its text."""
        side, _, step = text.partition(" ")
        return cls(step=step, side=side)


class Faults:
    """Counts steps, and dies at the fault point, if one is set. Steps may come from any thread."""

    def __init__(self, point: FaultPoint | None, roots: Collection[str]) -> None:
        self._lock = threading.Lock()
        self._roots = tuple(roots)
        self.begin(point)

    def begin(self, point: FaultPoint | None) -> None:
        """Count from nothing again; die at `point`, if it is one."""
        with self._lock:
            self._point = point
            self._counts = Counter[str]()
            self.steps: list[str] = []
            self.last_at = time.monotonic()

    def enter(self, name: str) -> str:
        """A step begins; its label."""
        name = _ID.sub("*", name)
        with self._lock:
            self._counts[name] += 1
            label = f"{name} #{self._counts[name]}"
            self.steps.append(label)
            self.last_at = time.monotonic()
            point = self._point
        if point is not None and point.step == label:
            if point.side == "before":
                die()
            if point.side == "during":
                delay_s = random.Random(label).uniform(*DURING_S)
                timer = threading.Timer(delay_s, die)
                timer.daemon = True
                timer.start()
        return label

    def leave(self, label: str) -> None:
        """A step is done."""
        point = self._point
        self.last_at = time.monotonic()
        if point is not None and point.step == label and point.side == "after":
            die()

    def is_ours(self, path: object) -> bool:
        """Whether a path lies in the daemon's folders."""
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(
            self._roots
        )

    def name_of(self, path: object) -> str:
        """A path for a label: its last two parts."""
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        return "/".join(Path(text).parts[-2:])


def die() -> None:
    """kill -9 of this process; never returns."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def install(faults: Faults) -> None:
    """Wrap the boundaries of this process."""
    _wrap_containerd(faults)
    _wrap_content(faults)
    _wrap_registries(faults)
    _wrap_events(faults)
    _wrap_mounts(faults)
    _wrap_network(faults)
    _wrap_files(faults)


def _wrap_containerd(faults: Faults) -> None:
    unary = Connection.unary

    async def counted(self: Connection, method: Any, request: Any, object_: str = "") -> Any:
        if method.name in READING:
            return await unary(self, method, request, object_)
        service = method.service.rpartition(".")[2].lower()
        kind = " exec" if getattr(request, "exec_id", "") else ""
        label = faults.enter(f"containerd {service}.{method.name}{kind}")
        try:
            return await unary(self, method, request, object_)
        finally:
            faults.leave(label)

    Connection.unary = counted  # type: ignore[method-assign,assignment]


def _wrap_content(faults: Faults) -> None:
    open_, commit = ContentWriter.open, ContentWriter.commit
    append, place = IngestFile._append, IngestFile._place

    async def counted_open(self: ContentWriter, total: int, expected: str) -> str:
        label = faults.enter("containerd content.Open")
        try:
            return await open_(self, total, expected)
        finally:
            faults.leave(label)

    async def counted_commit(self: ContentWriter, *arguments: Any, **options: Any) -> str:
        label = faults.enter("containerd content.Commit")
        try:
            return await commit(self, *arguments, **options)
        finally:
            faults.leave(label)

    def counted_append(self: IngestFile, data: bytes | memoryview) -> None:
        label = faults.enter("append to ingest")
        append(self, data)
        faults.leave(label)

    def counted_place(self: IngestFile) -> None:
        label = faults.enter("place blob")
        place(self)
        faults.leave(label)

    ContentWriter.open = counted_open  # type: ignore[method-assign]
    ContentWriter.commit = counted_commit  # type: ignore[method-assign]
    IngestFile._append = counted_append  # type: ignore[method-assign]
    IngestFile._place = counted_place  # type: ignore[method-assign]


def _wrap_registries(faults: Faults) -> None:
    send = Session._send

    async def counted(self: Session, endpoint: Any, method: str, *arguments: Any) -> Any:
        label = faults.enter(f"registry {method}")
        try:
            return await send(self, endpoint, method, *arguments)
        finally:
            faults.leave(label)

    Session._send = counted  # type: ignore[method-assign,assignment]


def _wrap_events(faults: Faults) -> None:
    commit, commit_soon = EventBus.commit, EventBus.commit_soon

    async def counted(self: EventBus, *events: Any, change: Any = None) -> Any:
        label = faults.enter(f"commit {_actions(events) or 'status'}")
        try:
            return await commit(self, *events, change=change)
        finally:
            faults.leave(label)

    async def counted_soon(self: EventBus, *events: Any) -> None:
        label = faults.enter(f"commit soon {_actions(events)}")
        try:
            await commit_soon(self, *events)
        finally:
            faults.leave(label)

    EventBus.commit = counted  # type: ignore[method-assign]
    EventBus.commit_soon = counted_soon  # type: ignore[method-assign]


def _actions(events: Sequence[Any]) -> str:
    return ",".join(event.action.partition(":")[0] for event in events)


class _Libc:
    """The C library, its changes of mounts counted."""

    def __init__(self, libc: Any, faults: Faults) -> None:
        self._libc, self._faults = libc, faults

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._libc, name)
        if name not in ("mount", "umount2"):
            return function

        def counted(*arguments: Any) -> Any:
            label = self._faults.enter(name)
            try:
                return function(*arguments)
            finally:
                self._faults.leave(label)

        return counted


def _wrap_mounts(faults: Faults) -> None:
    for module in (netns, shm):
        module._libc = _Libc(module._libc, faults)  # type: ignore[attr-defined]


def _wrap_network(faults: Faults) -> None:
    send, nft = Batch.send, Nft.ask

    def counted_send(self: Batch, netlink: Any) -> None:
        label = faults.enter(f"netlink {' '.join(self._steps[0].split()[:2])}")
        try:
            send(self, netlink)
        finally:
            faults.leave(label)

    async def counted_nft(self: Nft, script: str) -> str:
        if script.startswith("list "):  # changes nothing
            return await nft(self, script)
        label = faults.enter("nft")
        try:
            return await nft(self, script)
        finally:
            faults.leave(label)

    Batch.send = counted_send  # type: ignore[method-assign]
    Nft.ask = counted_nft  # type: ignore[method-assign]


def _wrap_files(faults: Faults) -> None:
    for name in ("mkdir", "rmdir", "unlink", "mkfifo", "rename", "replace"):
        setattr(os, name, _counted_file_call(faults, name, getattr(os, name)))
    os.open = _counted_open(faults, os.open)
    io.open = _counted_write(faults, io.open)


def _counted_file_call(faults: Faults, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(path: Any, *arguments: Any, **options: Any) -> Any:
        in_folder = options.get("dir_fd") is not None  # a tree is being removed
        is_there = os.path.lexists(path) if not in_folder else True
        if not in_folder and (not faults.is_ours(path) or is_there is name.startswith("mk")):
            return call(path, *arguments, **options)
        label = faults.enter(f"{name} {faults.name_of(path)}")
        try:
            return call(path, *arguments, **options)
        finally:
            faults.leave(label)

    return counted


def _counted_open(faults: Faults, call: Callable[..., int]) -> Callable[..., int]:
    def counted(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        makes = flags & os.O_CREAT and faults.is_ours(path) and not os.path.lexists(path)
        if not makes:
            return call(path, flags, *arguments, **options)
        label = faults.enter(f"make {faults.name_of(path)}")
        try:
            return call(path, flags, *arguments, **options)
        finally:
            faults.leave(label)

    return counted


def _counted_write(faults: Faults, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not (set(mode) & set("wax") and faults.is_ours(path)):
            return call(path, mode, *arguments, **options)
        label = faults.enter(f"write {faults.name_of(path)}")
        try:
            return call(path, mode, *arguments, **options)
        finally:
            faults.leave(label)

    return counted
