"""What the clients asked for and what they were told: the record that the verdict goes by."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Operation:
    """One call of a client. `ok`: acknowledged; None: no answer, so nobody knows.

    Times are seconds since the history began.
    """

    client: str
    what: str
    subject: str
    began_s: float
    ended_s: float = 0.0
    ok: bool | None = None
    answer: str = ""


@dataclass(slots=True)
class Fate:
    """What is known of one container.

    Attributes:
        exists: by what was acknowledged; None: nobody knows.
        code: its exit code, once it has ended by itself.
        lines: how many numbered lines it writes; None: as many as it gets to.
        was_hit: the nemesis may have ended it, or somebody has stopped it.
    """

    name: str
    exists: bool | None = None
    ran: bool = False
    code: int | None = None
    lines: int | None = None
    was_hit: bool = False


@dataclass(slots=True)
class History:
    """Shared by all clients and the nemesis; every method may be called from any thread."""

    began: float = field(default_factory=time.monotonic)
    operations: list[Operation] = field(default_factory=list)
    strokes: list[tuple[float, str]] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    full: list[tuple[float, float]] = field(default_factory=list)  # disk; Unix seconds
    cuts: list[float] = field(default_factory=list)  # of clients' connections
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @contextmanager
    def operation(self, client: str, what: str, subject: str) -> Iterator[Operation]:
        """Record a call, however it ends."""
        operation = Operation(client, what, subject, self.now_s())
        with self._lock:
            self.operations.append(operation)
        try:
            yield operation
        finally:
            operation.ended_s = self.now_s()

    def fate(self, name: str) -> Fate:
        """That of a container, made when it is first spoken of."""
        with self._lock:
            return self.fates.setdefault(name, Fate(name))

    def stroke(self, what: str) -> None:
        """The nemesis has done something."""
        with self._lock:
            self.strokes.append((self.now_s(), what))

    def complain(self, text: str) -> None:
        """Something was wrong that no later look could find."""
        with self._lock:
            self.wrong.append(f"{self.now_s():.1f} s: {text}")

    def cut(self) -> None:
        """Clients' connections are about to be cut."""
        with self._lock:
            self.cuts.append(self.now_s())

    def was_cut(self, operation: Operation) -> bool:
        """Whether its connections may have been cut: then what its client says is its own guess."""
        return any(operation.began_s - 1 <= at <= operation.ended_s + 1 for at in list(self.cuts))

    def was_full_at(self, unix_s: float) -> bool:
        """Whether nothing could be written then."""
        return any(began - 1 <= unix_s <= ended + 1 for began, ended in self.full)

    def hit_all(self) -> None:
        """The nemesis may have ended any container that runs now."""
        with self._lock:
            for fate in self.fates.values():
                fate.was_hit = True

    def write(self, path: Path) -> None:
        """Everything, as JSON, for whoever wants to know how it came to this."""
        whole = {
            "operations": [asdict(one) for one in self.operations],
            "strokes": self.strokes,
            "fates": {name: asdict(fate) for name, fate in self.fates.items()},
            "wrong": self.wrong,
        }
        path.write_text(json.dumps(whole, indent=1))
