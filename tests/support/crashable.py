"""A daemon under test whose parts can be crashed one by one; see `crashing`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import ROOT, Daemon, require_engine
from tests.support.leftovers import Bridge


@dataclass(slots=True)
class CrashableDaemon(Daemon):
    """A `Daemon` that has the back door."""

    @property
    def door(self) -> Path:
        """The control socket."""
        return self.folder / "door"

    def start(self, *more_flags: str) -> None:
        """Start the daemon and return once it answers a ping."""
        assert not self.is_running
        self.door.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "tests.support.crashing", str(self.door), "-H", self.host),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid"), "--bridge", self.bridge.name),
            *("--config-file", str(self.folder / "daemon.json"), *self.flags, *more_flags),
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_answering()

    def tree(self) -> dict[str, tuple[str, int]]:
        """State and number of restarts of every child, by its path."""
        return {path: (state, restarts) for path, state, restarts in self._ask(do="tree")}

    def crash(self, path: str) -> None:
        """Throw an exception into the child at `path`; return when that incarnation has ended."""
        answer = self._ask(do="crash", path=path)
        assert answer == {}, answer

    def _ask(self, **request: str) -> Any:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(30)
            door.connect(str(self.door))
            door.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                piece = door.recv(65536)
                assert piece, "the daemon closed the door"
                answer += piece
            return json.loads(answer)


@contextmanager
def crashable_daemon(*flags: str) -> Iterator[CrashableDaemon]:
    """As `running_daemon`, with a back door."""
    require_engine()
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    (folder / "config").mkdir()
    (folder / "daemon.json").write_text("{}")
    daemon = CrashableDaemon(folder=folder, bridge=Bridge.make(), flags=flags)
    try:
        daemon.start()
        daemon.load_image()
        yield daemon
    finally:
        daemon.close()
