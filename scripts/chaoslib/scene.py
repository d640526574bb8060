"""The engine that is tormented: on a small disk and in a network namespace of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from benchlib.engines import REPOSITORY, docker_archive, unmount_below
from benchlib.http import Connection, HttpError, is_answering

from .cutter import Cutter
from .registry import CUT_PORT, PORT, ChaosRegistry

DISK_MB: Final = 700
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 60.0
CALL_LIMIT_S: Final = 90.0
QUIET_S: Final = 1.5


class SceneFailed(Exception):
    """The engine does not come up; the text has the end of its log."""


class Scene:
    """One engine, its folders, and the docker CLI on it.

    Attributes:
        clock: the file that says by how many seconds the engine's clock is wrong.
        delay: the file that says how many seconds runc waits before each call.
        running: held by whoever starts or ends the daemon.
        registry: to pull from, through `registry_cutter`.
        client_cutter: what clients' connections go through.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.exec_root = folder / "data", folder / "exec"
        self.socket, self.log = folder / "d.sock", folder / "log"
        self.netns = f"chaos-{secrets.token_hex(4)}"
        self.clock = folder / "clock"
        self.delay = folder / "delay"
        self.running = threading.Lock()
        self.second_host = folder / "second.sock"
        netns = Path("/run/netns", self.netns)
        self.registry = ChaosRegistry(folder / "registry", self._entering())
        self.registry_cutter = Cutter(
            lambda: socket.create_server(("127.0.0.1", CUT_PORT)),
            lambda: socket.create_connection(("127.0.0.1", PORT)),
            netns=netns,
        )
        self._cut_socket = folder / "cut.sock"
        self.client_cutter = Cutter(
            partial(_listen_at, self._cut_socket), partial(_connect_to, self.socket)
        )
        self.calls: set[int] = set()  # pids of clients under way
        self._process: subprocess.Popen[bytes] | None = None

    # ── the daemon

    @property
    def pid(self) -> int:
        """The daemon's; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def start(self) -> float:
        """Return once a ping is answered; the seconds that took. Raises SceneFailed."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._entering(), *self._command()],
                cwd=REPOSITORY,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not is_answering(self.socket):
            if self._process.poll() is not None or time.monotonic() - began > START_LIMIT_S:
                raise SceneFailed(self.log.read_text(errors="replace")[-3000:])
            time.sleep(0.02)
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9; containers, containerd and the helpers' remains go on."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def children(self) -> list[tuple[int, str]]:
        """The daemon's own helper processes, each with its command line."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.pid and fields[0] != "Z":
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append((int(entry.name), words.strip()))
        return found

    def processes(self, what: str) -> list[int]:
        """The pids of our containerd (`containerd`) or of its shims (`containerd-shim`)."""
        found = []
        ours = f"{self.exec_root}/"
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                name = Path(words[0].decode(errors="replace")).name
                if name.startswith(what) and any(ours.encode() in word for word in words[1:]):
                    is_shim = name.startswith("containerd-shim")
                    if is_shim == what.startswith("containerd-shim"):
                        found.append(int(entry.name))
        return found

    # ── clients

    def docker(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A call of the docker CLI; raises subprocess.TimeoutExpired after CALL_LIMIT_S.

        Its connections may be cut, and it may be killed.
        """
        with self._client(self._cut_socket, arguments) as client:
            self.calls.add(client.pid)
            try:
                out, err = client.communicate(stdin, CALL_LIMIT_S)
            except subprocess.TimeoutExpired:
                client.kill()
                raise
            finally:
                self.calls.discard(client.pid)
        return subprocess.CompletedProcess(arguments, client.returncode, out, err)

    def safely(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A call that nobody cuts."""
        with self._client(self.socket, arguments) as client:
            out, err = client.communicate(stdin, CALL_LIMIT_S)
        return subprocess.CompletedProcess(arguments, client.returncode, out, err)

    def history_of(self, *arguments: str) -> bytes:
        """What a call that does not end says until it is silent for QUIET_S."""
        path = self.folder / "said"
        with path.open("wb") as said, self._client(self.socket, arguments, said) as client:
            size, since = -1, time.monotonic()
            while time.monotonic() < since + QUIET_S:
                if path.stat().st_size != size:
                    size, since = path.stat().st_size, time.monotonic()
                time.sleep(0.1)
            client.kill()
        return path.read_bytes()

    def _client(
        self, way: Path, arguments: Sequence[str], stdout: IO[bytes] | int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["docker", *arguments],
            env={
                **os.environ,
                "DOCKER_HOST": f"unix://{way}",
                "DOCKER_CONFIG": str(self.folder / "client"),
                "DOCKER_BUILDKIT": "0",
            },
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def call(self, method: str, target: str, body: object = None) -> Any:
        """A call of the API. Raises OSError, HttpError."""
        with Connection(self.socket, limit_s=CALL_LIMIT_S) as connection:
            return connection.call(method, target, body, fields="X-Wharfinger: chaos\r\n")

    def inside(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """A command in the engine's network namespace."""
        return subprocess.run([*self._entering(), *command], capture_output=True, check=False)

    def _entering(self) -> list[str]:
        """Not by `ip netns exec`, which mounts another /sys: without cgroups."""
        return ["nsenter", f"--net=/run/netns/{self.netns}"]

    # ── making and taking away

    def set_up(self) -> None:
        """Disk, namespace, image; then the engine is up."""
        for folder in (self.data, self.folder / "client"):
            folder.mkdir()
        self.configure([self.socket])
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "chaos", str(self.data))
        _run("ip", "netns", "add", self.netns)
        self.inside("ip", "link", "set", "lo", "up")
        self.delay.write_text("0\n")
        self.clock.write_text("0")
        runc = self.folder / "runc"
        runc.write_text(
            f'#!/bin/sh\nread d <{self.delay}\n[ "$d" = 0 ] || sleep "$d"\n'
            f'exec {shutil.which("runc")} "$@"\n'
        )
        runc.chmod(0o755)
        self.start()
        archive = docker_archive(self.folder / "busybox.tar")
        with Connection(self.socket, limit_s=CALL_LIMIT_S) as connection:
            connection.upload("/images/load?quiet=1", archive.read_bytes())
        self.client_cutter.start()
        self.registry_cutter.start()
        self.registry.start()
        self.registry.fill(self.safely)

    def configure(self, hosts: Sequence[Path]) -> None:
        """Write daemon.json."""
        settings = {"hosts": [f"unix://{path}" for path in hosts]}
        (self.folder / "daemon.json").write_text(json.dumps(settings))

    def tear_down(self) -> None:
        """Take everything away, in whatever state it is."""
        self.client_cutter.close()
        self.registry_cutter.close()
        self.registry.stop()
        with suppress(OSError, HttpError):
            for container in self.call("GET", "/containers/json?all=1"):
                with suppress(OSError, HttpError):
                    self.call("DELETE", f"/containers/{container['Id']}?force=1")
        self.stop()
        for what in ("containerd", "containerd-shim"):
            for pid in self.processes(what):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        unmount_below(self.folder)
        subprocess.run(["ip", "netns", "delete", self.netns], capture_output=True, check=False)

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "chaoslib.skewed"),
            *("--data-root", str(self.data)),
            *("--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid")),
            *("--config-file", str(self.folder / "daemon.json")),
            *("--metrics-addr", "127.0.0.1:9323"),
            *("--bridge", "chaos0", "--add-runtime", f"slow={self.folder / 'runc'}"),
            *("--default-runtime", "slow"),
        ]

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {"CHAOS_CLOCK": str(self.clock)}
        return environment


@contextmanager
def scene() -> Iterator[Scene]:
    """A running engine, gone with all that it made when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    folder.chmod(0o755)
    made = Scene(folder)
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()
        shutil.rmtree(folder, ignore_errors=True)


def _listen_at(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def _connect_to(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
