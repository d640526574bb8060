"""A whole daemon under test: its process, its folders, its bridge, and what speaks to it.

Nothing of it is shared with another daemon: data, sockets, bridge, firewall table. `close` takes
all of it away again and fails when the daemon had left something of its own behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from services.networks.model import GATEWAY_BRIDGE
from tests.support.http import LIMIT_S, Answer, request
from tests.support.leftovers import Bridge, Leftovers
from tests.support.terminal import Terminal, on_terminal

if TYPE_CHECKING:
    from docker import DockerClient

ROOT: Final = Path(__file__).parent.parent.parent
# Limits are for what hangs: a machine may be ten times slower than usual, and busy with others.
START_LIMIT_S: Final = 90.0
STOP_LIMIT_S: Final = 90.0
COMMAND_LIMIT_S: Final = 90.0
WAIT_LIMIT_S: Final = 60.0
PROGRAMS: Final = ("containerd", "runc", "busybox", "ip", "nft")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended. `code` is its exit status, negative for a signal."""

    args: Sequence[str]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output without the white space around it."""
        return self.out.decode(errors="replace").strip()

    @property
    def error_text(self) -> str:
        """Standard error without the white space around it."""
        return self.err.decode(errors="replace").strip()


def require_engine() -> None:
    """Skip where a daemon cannot run."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing or PROGRAMS)}")


def require_docker() -> None:
    """Skip where there is no docker CLI."""
    if shutil.which("docker") is None:
        pytest.skip("needs the docker CLI")


def image_archive() -> Path:
    """busybox:latest as an archive for `docker load`; made once on this machine."""
    made = subprocess.run(
        [ROOT / "scripts" / "test-image"], check=True, capture_output=True, text=True
    )
    return Path(made.stdout.strip())


@dataclass(slots=True)
class Daemon:
    """One `python -m supervisor` with folders of its own. Made by `running_daemon`."""

    folder: Path  # short: sockets lie in it
    bridge: Bridge
    flags: Sequence[str] = ()
    hosts_in_file: bool = False  # then daemon.json says where it listens, `socket` among that
    process: subprocess.Popen[bytes] | None = None
    _clients: list[DockerClient] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where the API listens."""
        return self.folder / "d.sock"

    @property
    def host(self) -> str:
        """The API's address, as DOCKER_HOST has it."""
        return f"unix://{self.socket}"

    @property
    def data_root(self) -> Path:
        """The daemon's --data-root."""
        return self.folder / "data"

    @property
    def exec_root(self) -> Path:
        """The daemon's --exec-root."""
        return self.folder / "exec"

    @property
    def log_file(self) -> Path:
        """What the daemon has written to its standard error, over all its lives."""
        return self.folder / "log"

    def log_text(self, *, since: int = 0) -> str:
        """The log from byte `since` on."""
        with suppress(FileNotFoundError):
            return self.log_file.read_bytes()[since:].decode(errors="replace")
        return ""

    # ── the process ──────────────────────────────────────────────────────────────────────────

    @property
    def pid(self) -> int:
        """The pid of the running daemon."""
        assert self.process is not None, "the daemon does not run"
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the daemon's process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def containerd_pid(self) -> int:
        """The pid of the containerd that the daemon started."""
        return int((self.exec_root / "containerd" / "containerd.pid").read_text())

    def start(self, *more_flags: str) -> None:
        """Start the daemon and return once it answers a ping."""
        assert not self.is_running
        command = [
            *(sys.executable, "-m", "supervisor"),
            *(() if self.hosts_in_file else ("-H", self.host)),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid"), "--bridge", self.bridge.name),
            *("--default-address-pool", f"base={self.bridge.pool},size=28"),
            *("--config-file", str(self.folder / "daemon.json"), *self.flags, *more_flags),
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=hear_interrupts,
            )
        self._wait_answering()

    def stop(self) -> int:
        """Ask the daemon to end (SIGTERM); its exit status."""
        return self.signal_and_wait(signal.SIGTERM)

    def kill(self) -> None:
        """End the daemon the hard way (SIGKILL). containerd, shims and containers live on."""
        self.signal_and_wait(signal.SIGKILL)

    def restart(self, *more_flags: str) -> None:
        """Stop it if it runs, and start it."""
        if self.is_running:
            self.stop()
        self.start(*more_flags)

    def signal_and_wait(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit status, negative for a signal."""
        assert self.process is not None
        self._close_clients()
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)  # where it hangs, for the log
            time.sleep(1)
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the daemon did not end:\n{self.log_text()[-6000:]}") from None

    def memory_kb(self, name: str) -> int:
        """A figure of the daemon's memory, in KiB: `VmHWM` is the most that it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0])
        raise KeyError(name)

    def _wait_answering(self) -> None:
        def answers() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended at its start:\n{self.log_text()[-6000:]}")
            with suppress(OSError):
                return self.http("GET", "/_ping").status == 200
            return False

        wait_until(answers, "the daemon answers", limit_s=START_LIMIT_S)

    # ── its clients ──────────────────────────────────────────────────────────────────────────

    def environment(self) -> dict[str, str]:
        """What a docker CLI needs to speak to this daemon and to nothing else."""
        return os.environ | {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_CLI_HINTS": "false",
            "DOCKER_BUILDKIT": "0",
        }

    def docker(
        self,
        *args: str,
        code: int | None = 0,
        stdin: bytes = b"",
        binary: str = "docker",
        limit_s: float = COMMAND_LIMIT_S,
    ) -> Ran:
        """Run the docker CLI to its end; fail if its status is not `code` (None: any will do)."""
        command = [binary, *args]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                env=self.environment(),
                timeout=limit_s,
                check=False,
                preexec_fn=hear_interrupts,
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(
                f"{command} did not end within {limit_s} s: {late.stdout!r} {late.stderr!r}"
            ) from None
        ran = Ran(args=command, code=done.returncode, out=done.stdout, err=done.stderr)
        assert code is None or ran.code == code, f"{command}: {ran.code}\n{ran.out!r}\n{ran.err!r}"
        return ran

    @contextmanager
    def docker_process(
        self, *args: str, binary: str = "docker", **streams: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A docker CLI that runs beside the test; killed at the end of the block if it still does.

        `streams` are Popen's; all three are pipes unless they say otherwise.
        """
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        pipes["preexec_fn"] = hear_interrupts
        command = [binary, *args]
        process: subprocess.Popen[bytes]
        with subprocess.Popen(command, env=self.environment(), **(pipes | streams)) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def docker_on_terminal(
        self, *args: str, binary: str = "docker", rows: int = 24, columns: int = 80
    ) -> Iterator[Terminal]:
        """A docker CLI on a terminal of its own."""
        environment = self.environment() | {"TERM": "xterm"}
        with on_terminal([binary, *args], environment, rows=rows, columns=columns) as terminal:
            yield terminal

    def client(self, **options: Any) -> DockerClient:
        """A docker-py client, closed with the daemon."""
        module = pytest.importorskip("docker")
        client = module.DockerClient(base_url=self.host, **{"timeout": LIMIT_S, **options})
        self._clients.append(client)
        return client

    def http(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        *,
        limit_s: float = LIMIT_S,
    ) -> Answer:
        """One request over a connection of its own; see `tests.support.http.request`."""
        return request(self.socket, method, path, body, headers, limit_s=limit_s)

    def load_image(self) -> None:
        """Give the daemon busybox:latest."""
        answer = self.http("POST", "/images/load?quiet=1", image_archive().read_bytes())
        assert answer.status == 200, answer
        assert b"error" not in answer.body, answer

    def container_ids(self) -> list[str]:
        """The ids of all containers, running or not."""
        return [container["Id"] for container in self.http("GET", "/containers/json?all=1").json()]

    def remove_containers(self) -> None:
        """Remove all containers, running or not."""
        for container_id in self.container_ids():
            answer = self.http("DELETE", f"/containers/{container_id}?force=1&v=1")
            assert answer.status in (204, 404, 409), answer
        wait_until(lambda: not self.container_ids(), "all containers are removed")

    def remove_networks(self) -> None:
        """Remove all networks but the predefined ones. No container may be in one."""
        for network in self.http("GET", "/networks").json():
            if network["Name"] not in ("bridge", "host", "none"):
                answer = self.http("DELETE", f"/networks/{network['Id']}")
                assert answer.status in (204, 404), answer

    def own_gateway(self) -> None:
        """Have the bridge by which tasks get out, with a name that no other daemon's has.

        As dockerd's, one that is there before the swarm is taken as it is.
        """
        options = {
            "com.docker.network.bridge.name": f"wg{self.bridge.name[2:]}",
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
        }
        body = {"Name": GATEWAY_BRIDGE, "Options": options}
        answer = self.http("POST", "/networks/create", body)
        assert answer.status == 201, answer

    def image_names(self) -> list[str]:
        """The tags of all images."""
        images = self.http("GET", "/images/json").json()
        return sorted(tag for image in images for tag in image["RepoTags"])

    def _close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    # ── its end ──────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Remove the containers, end everything, take it away; fail if something was left behind.

        A daemon that does not run any more had no chance to clean up: then nothing is claimed.
        """
        leftovers = Leftovers(self.folder, self.bridge)
        complaints: list[str] = []
        try:
            if self.is_running:
                complaints += self._end_in_order(leftovers)
        finally:
            if self.is_running:
                assert self.process is not None
                self.process.kill()
                self.process.wait()
            self._close_clients()
            log = self.log_text()[-6000:]
            leftovers.sweep()
        assert not complaints, "\n".join([*complaints, log])

    def _end_in_order(self, leftovers: Leftovers) -> list[str]:
        self.remove_containers()
        ids = self._ids_ever()
        status = self.stop()
        complaints = [] if status == 0 else [f"the daemon's exit status is {status}"]
        return complaints + leftovers.find(ids)

    def _ids_ever(self) -> frozenset[str]:
        """The ids of all containers that there were, from the events."""
        past = f"/events?since=1&until={time.time():.6f}"
        events = self.http("GET", past).json_lines()
        return frozenset(e["Actor"]["ID"] for e in events if e["Type"] == "container")


def hear_interrupts() -> None:
    """In a child, before its exec: the workers of parallel runs ignore SIGINT, and so would it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(
    holds: Callable[[], object], what: str, *, limit_s: float = WAIT_LIMIT_S, pause_s: float = 0.02
) -> None:
    """Wait for something that no one can tell us of; fail if it does not come."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(pause_s)


@contextmanager
def running_daemon(
    *flags: str, image: bool = True, hosts_in_file: bool = False
) -> Iterator[Daemon]:
    """A daemon, answering, with busybox:latest unless `image` is false; closed after the block."""
    require_engine()
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    (folder / "config").mkdir()
    daemon = Daemon(folder=folder, bridge=Bridge.make(), flags=flags, hosts_in_file=hosts_in_file)
    configuration = {"hosts": [daemon.host]} if hosts_in_file else {}
    (folder / "daemon.json").write_text(json.dumps(configuration))
    try:
        daemon.start()
        if image:
            daemon.load_image()
        yield daemon
    finally:
        daemon.close()
