"""A daemon under test whose parts can be crashed one by one; see `crashing`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from tests.support.daemon import ROOT, Daemon, require_engine
from tests.support.faults import FaultPoint
from tests.support.leftovers import Bridge


@dataclass(slots=True)
class CrashableDaemon(Daemon):
    """A `Daemon` that has the back door."""

    module: ClassVar[str] = "tests.support.crashing"

    @property
    def door(self) -> Path:
        """The control socket."""
        return self.folder / "door"

    def start(self, *more_flags: str) -> None:
        """Start the daemon and return once it answers a ping."""
        assert not self.is_running
        self.door.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", self.module, str(self.door), "-H", self.host),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid"), "--bridge", self.bridge.name),
            *("--default-address-pool", f"base={self.bridge.pool},size=28"),
            *("--config-file", str(self.folder / "daemon.json"), *self.flags, *more_flags),
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.process_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_answering()

    @property
    def host_resolv_conf(self) -> Path:
        """What the daemon takes for the host's resolv.conf, if it is there when it starts."""
        return self.folder / "host-resolv.conf"

    def process_environment(self) -> dict[str, str]:
        """The daemon's own environment."""
        if not self.host_resolv_conf.exists():
            return dict(os.environ)
        return dict(os.environ) | {"HOST_RESOLV_CONF": str(self.host_resolv_conf)}

    def tree(self) -> dict[str, tuple[str, int]]:
        """State and number of restarts of every child, by its path."""
        return {path: (state, restarts) for path, state, restarts in self.ask(do="tree")}

    def crash(self, path: str) -> None:
        """Throw an exception into the child at `path`; return when that incarnation has ended."""
        answer = self.ask(do="crash", path=path)
        assert answer == {}, answer

    def ask(self, **request: Any) -> Any:
        """One request through the back door, and its answer."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(60)
            door.connect(str(self.door))
            door.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                piece = door.recv(65536)
                assert piece, f"the daemon closed the door:\n{self.log_text()[-20000:]}"
                answer += piece
            return json.loads(answer)


@dataclass(slots=True)
class FaultableDaemon(CrashableDaemon):
    """A `CrashableDaemon` that dies at a fault point, see `faults`.

    Attributes:
        point_at_start: where the next start dies, if anywhere.
    """

    point_at_start: FaultPoint | None = None

    def process_environment(self) -> dict[str, str]:
        """With what the back door is told of fault points."""
        environment = dict(os.environ) | {"FAULT_ROOTS": f"{self.data_root}:{self.exec_root}"}
        if self.point_at_start is not None:
            environment["FAULT_POINT"] = str(self.point_at_start)
        return environment

    def arm(self, point: FaultPoint | None) -> None:
        """Count steps from now on, and die at `point`."""
        self.ask(do="arm", point="" if point is None else str(point))

    def steps(self) -> tuple[list[str], float]:
        """The labels of the steps since it was armed or started; seconds since the last one."""
        labels, age_s = self.ask(do="steps")
        return labels, age_s

    def census(self) -> dict[str, Any]:
        """What there is of containers in the daemon's memory and in containerd."""
        found: dict[str, Any] = self.ask(do="census")
        return found


@dataclass(slots=True)
class SkewedDaemon(CrashableDaemon):
    """A `CrashableDaemon` whose clock can be set, see `skewing`; containerd's stays right."""

    module: ClassVar[str] = "tests.support.skewing"

    def process_environment(self) -> dict[str, str]:
        """With the place where the clock's error stands."""
        return dict(os.environ) | {"CLOCK_FILE": str(self.folder / "clock")}

    def set_clock(self, ahead_s: float) -> None:
        """From now on the clock is wrong by so much."""
        temporary = self.folder / "clock.new"
        temporary.write_text(f"{ahead_s}")
        temporary.replace(self.folder / "clock")


DaemonT = TypeVar("DaemonT", bound=CrashableDaemon)


@contextmanager
def crashable_daemon(*flags: str, host_resolv_conf: str = "") -> Iterator[CrashableDaemon]:
    """As `running_daemon`, with a back door; `host_resolv_conf` stands for the host's file."""
    with _running(CrashableDaemon, flags, host_resolv_conf) as daemon:
        yield daemon


@contextmanager
def faultable_daemon(*flags: str) -> Iterator[FaultableDaemon]:
    """As `crashable_daemon`, with fault points."""
    with _running(FaultableDaemon, flags) as daemon:
        yield daemon


@contextmanager
def skewed_daemon(*flags: str) -> Iterator[SkewedDaemon]:
    """As `crashable_daemon`, with a clock that can be set."""
    with _running(SkewedDaemon, flags) as daemon:
        yield daemon


@contextmanager
def _running(
    kind: type[DaemonT], flags: Sequence[str], host_resolv_conf: str = ""
) -> Iterator[DaemonT]:
    require_engine()
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    (folder / "config").mkdir()
    (folder / "daemon.json").write_text("{}")
    daemon = kind(folder=folder, bridge=Bridge.make(), flags=flags)
    if host_resolv_conf:
        daemon.host_resolv_conf.write_text(host_resolv_conf)
    try:
        daemon.start()
        daemon.load_image()
        yield daemon
    finally:
        daemon.close()
