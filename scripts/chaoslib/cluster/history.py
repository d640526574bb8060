"""What the swarm's clients asked for, were told, and read: the record that the verdict goes by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

from chaoslib.history import History, Operation


@dataclass(slots=True)
class Write(Operation):
    """One call that changes something. Of an update: that of the version `seen`, to `content`.

    Attributes:
        host: the manager that was asked.
        value: the number that the update brings, which no other one does.
        before: the number that stood in the version that was seen.
    """

    host: str = ""
    value: int = 0
    seen: int = 0
    before: int = 0
    content: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """What a manager said that an object is."""

    host: str
    subject: str
    version: int
    content: str
    began_s: float
    ended_s: float


@dataclass(slots=True)
class Fault:
    """One stroke of the nemesis. `mended_s`: when it was undone, and the swarm whole again."""

    what: str
    host: str
    struck_s: float
    undone_s: float = 0.0
    mended_s: float = 0.0


@dataclass(slots=True)
class ClusterHistory(History):
    """As its parent's: every method may be called from any thread."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # right, but not in time
    unrest: list[str] = field(default_factory=list)  # as a machine that is short of time may have
    calm_s: tuple[float, float] = (0.0, 0.0)  # under load, before the first fault
    _values: Iterator[int] = field(default_factory=lambda: count(1))

    def new_value(self) -> int:
        """A number that nobody had before."""
        with self._lock:
            return next(self._values)

    @contextmanager
    def writing(self, write: Write) -> Iterator[Write]:
        """Record a call, however it ends."""
        write.began_s = self.now_s()
        with self._lock:
            self.writes.append(write)
        try:
            yield write
        finally:
            write.ended_s = self.now_s()

    def was_read(self, read: Read) -> None:
        """Somebody was told what an object is."""
        with self._lock:
            self.reads.append(read)

    @contextmanager
    def fault(self, what: str, host: str) -> Iterator[Fault]:
        """Something is broken now, and mended when the block is left."""
        fault = Fault(what, host, self.now_s())
        with self._lock:
            self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.mended_s = self.now_s()

    def of(self, subject: str) -> list[Write]:
        """The writes of one object, as they began."""
        return [write for write in self.writes if write.subject == subject]

    def write(self, path: Path) -> None:
        """Everything, as JSON, for whoever wants to know how it came to this."""
        whole = {
            "ended": time.time(),
            "writes": [asdict(one) for one in self.writes],
            "reads": [asdict(one) for one in self.reads],
            "faults": [asdict(one) for one in self.faults],
            "wrong": self.wrong,
            "calm_s": self.calm_s,
            "late": self.late,
            "unrest": self.unrest,
        }
        path.write_text(json.dumps(whole, indent=1))
