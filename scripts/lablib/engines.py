"""Engines of a lab: a daemon on each host, and what the tests and the user ask of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .hosts import Host, Wires

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PATIENCE: Final = float(os.environ.get("WHARFINGER_LAB_PATIENCE", "1"))
"""How many times slower than others a machine is, an emulated one for example."""
START_LIMIT_S: Final = 60.0 * PATIENCE
STOP_LIMIT_S: Final = 60.0 * PATIENCE
COMMAND_LIMIT_S: Final = 60.0 * PATIENCE
_HOST_AND_STATUS: Final = "{{.Hostname}} {{.ManagerStatus}}"
_LOG_LINES: Final = 20


class Engine:
    """One daemon on its host. It may be ended, killed and started again."""

    def __init__(self, host: Host, folder: Path, flags: Sequence[str] = ()) -> None:
        self.host: Final = host
        self.folder: Final = folder
        self._flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where its API listens; it can be reached from everywhere on the machine."""
        return self.folder / "d.sock"

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; it does not answer yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        command = self.host.command(
            sys.executable, "-P", "-m", "supervisor",
            f"--data-root={self.folder}/data", f"--exec-root={self.folder}/run",
            f"--pidfile={self.folder}/pid", f"--host=unix://{self.socket}", *self._flags,
        )  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )

    def wait_answering(self) -> None:
        """Block until its API answers. Raises RuntimeError, with the end of its log."""
        try:
            wait_for(self._answers, "it answers", START_LIMIT_S)
        except TimeoutError as error:
            raise RuntimeError(
                f"{self.host.name}: {error}; its log ends:\n{self._log_end()}"
            ) from error

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL. containerd and the containers stay."""
        self._end(signal.SIGKILL)

    def docker(self, *arguments: str, limit_s: float = COMMAND_LIMIT_S) -> str:
        """The docker CLI's output. Raises RuntimeError with its complaint."""
        done = self._docker(arguments, limit_s)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def try_docker(self, *arguments: str) -> str | None:
        """The docker CLI's output; None if it complains."""
        with suppress(subprocess.TimeoutExpired):
            done = self._docker(arguments, COMMAND_LIMIT_S)
            return done.stdout.strip() if done.returncode == 0 else None
        return None

    def docker_json(self, *arguments: str) -> list[Any]:
        """As `docker`, with `--format json`: each line of the answer."""
        text = self.docker(*arguments, "--format", "{{json .}}")
        return [json.loads(line) for line in text.splitlines()]

    def _answers(self) -> bool:
        status = self.process.poll() if self.process else None
        if status is not None:
            raise RuntimeError(
                f"{self.host.name} ended with status {status}; its log ends:\n{self._log_end()}"
            )
        # The client costs more than a look, on a slow machine as much as the engine's start.
        return self.socket.exists() and self.try_docker("version") is not None

    def _log_end(self) -> str:
        return "\n".join(self.log.splitlines()[-_LOG_LINES:])

    def _docker(self, arguments: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}"},
        )

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(STOP_LIMIT_S)
        self.process = None


class Lab:
    """A number of engines, in no swarm yet."""

    def __init__(self, count: int, *, flags: Sequence[str] = ()) -> None:
        self.folder: Final = Path(tempfile.mkdtemp(prefix="wflab", dir="/tmp"))
        self.wires: Final = Wires(self.folder)
        self.engines: Final[list[Engine]] = []
        for _ in range(count):
            host = self.wires.add_host()
            self.engines.append(Engine(host, self.folder / host.name, flags))

    def start(self) -> None:
        """Start all; block until they answer."""
        for engine in self.engines:
            engine.start()
        for engine in self.engines:
            engine.wait_answering()

    def load_image(self) -> None:
        """Give busybox:latest to all."""
        made = subprocess.run(
            [ROOT / "scripts" / "test-image"], check=True, capture_output=True, text=True
        )
        for engine in self.engines:
            engine.docker("load", "-i", made.stdout.strip())

    def make_swarm(self, managers: int) -> None:
        """The first engine begins a swarm, the others join: so many managers in all."""
        first, *others = self.engines
        first.docker("swarm", "init")
        tokens = {
            role: first.docker("swarm", "join-token", "-q", role) for role in ("manager", "worker")
        }
        for number, engine in enumerate(others, 2):
            token = tokens["manager" if number <= managers else "worker"]
            engine.docker("swarm", "join", "--token", token, f"{first.host.address}:2377")

    def wait_leader(self, limit_s: float) -> Engine:
        """Block until a manager knows who leads; that one's engine. Raises TimeoutError."""
        known: list[str] = []

        def ask() -> bool:
            for engine in self.engines:
                listed = engine.try_docker("node", "ls", "--format", _HOST_AND_STATUS) or ""
                known[:] = [line.split()[0] for line in listed.splitlines() if "Leader" in line]
                if known:
                    return True
            return False

        wait_for(ask, "there is a leader", limit_s)
        return next(engine for engine in self.engines if engine.host.name == known[0])

    def close(self) -> None:
        """Take all of it away."""
        for engine in self.engines:
            if engine.process is not None:
                engine.process.send_signal(signal.SIGTERM)
        for engine in self.engines:
            with suppress(subprocess.TimeoutExpired):
                engine.stop()
        self.wires.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for(condition: Callable[[], object], what: str, limit_s: float) -> None:
    """Block until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.1)
