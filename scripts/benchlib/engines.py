"""The engines under test: on one containerd, each with roots and a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .http import Connection, HttpError, is_answering

REPOSITORY: Final = Path(__file__).resolve().parents[2]
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 60.0
CALL_LIMIT_S: Final = 600.0


class EngineFailed(Exception):
    """An engine did not do what a line needs; the text holds its own words."""


class Program:
    """A process that we start and end by its pid; its output goes to a file."""

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's pid; it must have been started."""
        assert self._process is not None
        return self._process.pid

    def start(self, variables: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start it, with these variables besides its own. Nothing is waited for."""
        environment = os.environ if self._environment is None else self._environment
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env={**environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def check_alive(self) -> None:
        """Raises EngineFailed with the end of its log if it has ended."""
        if self._process is None or self._process.poll() is not None:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise EngineFailed(f"{self._command[0]} ended:\n{tail}")

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process is not None
        self._process.wait(STOP_LIMIT_S)

    def stop(self) -> None:
        """Ask it to end, then make it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Containerd:
    """The containerd that all of them use, and `ctr` on it."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "c.sock"
        _mount_tmpfs(folder / "cs")
        config = folder / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{folder}/c"\nstate = "{folder}/cs"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
        )
        self._program = Program(
            ["containerd", "--config", str(config)], log=folder / "containerd.log"
        )
        self._made = 0

    def start(self) -> None:
        """Return once it serves."""
        self._program.start()
        deadline = time.monotonic() + START_LIMIT_S
        while self._ctr("version", check=False).returncode:
            self._program.check_alive()
            if time.monotonic() > deadline:
                raise EngineFailed("containerd does not serve")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self._program.stop()

    @property
    def pid(self) -> int:
        """Its pid; it must have been started."""
        return self._program.pid

    def count(self, namespace: str, *what: str) -> int:
        """How many lines `ctr` has for `what`, such as `tasks ls -q`; a heading is none."""
        done = subprocess.run(
            ["ctr", "-a", str(self.address), "-n", namespace, *what],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=CALL_LIMIT_S,
            check=True,
        )
        return len(done.stdout.splitlines()) - ("-q" not in what)

    def load(self, archive: Path) -> None:
        """Import the image that `run` uses."""
        self._ctr("images", "import", str(archive))

    def import_timed(self, archive: Path, reference: str) -> float:
        """Seconds to import `archive`; the image is removed again."""
        began = time.perf_counter()
        self._ctr("images", "import", str(archive))
        took_s = time.perf_counter() - began
        self._ctr("images", "rm", "--sync", f"docker.io/library/{reference}")
        return took_s

    def run_timed(self, *command: str) -> float:
        """Seconds of `ctr run --rm` with `command`."""
        self._made += 1
        name = f"bench-{self._made}"
        began = time.perf_counter()
        self._ctr("run", "--rm", "docker.io/library/busybox:latest", name, *command)
        return time.perf_counter() - began

    def _ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            ["ctr", "-a", str(self.address), "-n", "bench-ctr", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=CALL_LIMIT_S,
            check=False,
        )
        if check and done.returncode:
            raise EngineFailed(f"ctr {arguments[0]}: {done.stderr.decode(errors='replace')}")
        return done


class Engine:
    """A daemon that speaks the Engine API, ours or dockerd."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path) -> None:
        self.name = name
        self.socket = folder / "d.sock"
        self.namespace = f"bench-{name}"
        self.folder = folder
        folder.mkdir(mode=0o755)
        (folder / "daemon.json").write_text("{}")
        (folder / "client").mkdir()
        _mount_tmpfs(folder / "exec")
        self._program = Program(
            # A network namespace of its own: no bridge, address or firewall rule touches the host.
            ["unshare", "--net", *command, *self._flags()],
            log=folder / "log",
            environment=_with_bytecode(folder / "bytecode"),
        )
        self._environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(folder / "client"),
            "DOCKER_BUILDKIT": "0",  # what both can: the CLI's own builder has no daemon in it
        }

    def _flags(self) -> list[str]:
        folder = self.folder
        return [
            *("-H", f"unix://{self.socket}"),
            *("--data-root", str(folder / "data")),
            *("--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "pid")),
            *("--config-file", str(folder / "daemon.json")),
            *("--containerd", str(folder.parent / "c.sock")),
            *("--containerd-namespace", self.namespace),
            *("--bridge", "" if self.name == "dockerd" else "bench0"),
        ]

    @property
    def pid(self) -> int:
        """The daemon's pid: `unshare` has become it."""
        return self._program.pid

    def start_timed(self, variables: Mapping[str, str] = MappingProxyType({})) -> float:
        """Start the daemon, as `Program.start` does; the seconds until it answers a ping."""
        self.socket.unlink(missing_ok=True)
        began = time.perf_counter()
        self._program.start(variables)
        while not is_answering(self.socket):
            self._program.check_alive()
            if time.perf_counter() - began > START_LIMIT_S:
                raise EngineFailed(f"{self.name} does not answer")
            time.sleep(0.002)
        return time.perf_counter() - began

    def processor_s(self) -> float:
        """The processor time that the daemon has used, of all its threads that are still there."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def log_text(self) -> str:
        """All that its processes have written."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End the daemon and its containers."""
        self._program.stop()

    def connect(self) -> Connection:
        """A connection to its API."""
        return Connection(self.socket, limit_s=CALL_LIMIT_S)

    def docker(self, *arguments: str, stdin: Path | None = None) -> bytes:
        """What a call of the docker CLI prints.

        Raises:
            EngineFailed: its exit status is not 0.
        """
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = self._docker(arguments, stdin=source.fileno(), stdout=subprocess.PIPE)
        return done.stdout

    def timed(self, *arguments: str, stdin: Path | None = None) -> float:
        """The seconds of a call of the docker CLI whose output nobody keeps."""
        with (stdin or Path(os.devnull)).open("rb") as source:
            began = time.perf_counter()
            self._docker(arguments, stdin=source.fileno(), stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A call of the docker CLI that goes on, with pipes to write to and read from."""
        return subprocess.Popen(
            ["docker", *arguments],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _docker(
        self, arguments: Sequence[str], *, stdin: int, stdout: int
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            ["docker", *arguments],
            env=self._environment,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=CALL_LIMIT_S,
            check=False,
        )
        if done.returncode:
            words = done.stderr.decode(errors="replace")
            raise EngineFailed(f"{self.name}: docker {' '.join(arguments)}: {words}")
        return done

    def memory_mb(self) -> float:
        """The daemon's proportional share of memory (Pss), in MB of 10^6 bytes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        pss_kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return pss_kib * 1024 / 1e6

    def kill_processes(self, prefix: str) -> None:
        """Kill the first process of each running container whose name begins so, past the API."""
        with self.connect() as connection:
            for container in connection.call("GET", "/containers/json"):
                if container["Names"][0].startswith(f"/{prefix}"):
                    found = connection.call("GET", f"/containers/{container['Id']}/json")
                    with suppress(ProcessLookupError):
                        os.kill(found["State"]["Pid"], signal.SIGKILL)

    def remove_containers(self) -> None:
        """Remove every container, running or not."""
        with suppress(OSError, HttpError), self.connect() as connection:
            for container in connection.call("GET", "/containers/json?all=1"):
                with suppress(HttpError):
                    connection.call("DELETE", f"/containers/{container['Id']}?force=1")


def wharfinger(folder: Path) -> Engine:
    """Ours, of the tree that this script is in, under the Python that runs the script."""
    return Engine("wharfinger", [sys.executable, "-m", "supervisor"], folder=folder)


def _with_bytecode(folder: Path) -> dict[str, str]:
    """Our environment, but Python keeps what it compiled, as it does where it is installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def dockerd(folder: Path) -> Engine | None:
    """Docker's, None if it is not installed."""
    found = shutil.which("dockerd")
    return Engine("dockerd", [found], folder=folder) if found else None


def docker_archive(path: Path) -> Path:
    """busybox:latest for `docker load`, made by scripts/test-image."""
    subprocess.run(
        [REPOSITORY / "scripts/test-image", "-o", str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def _mount_tmpfs(path: Path) -> None:
    """What engines and containerd keep below /run: on a tmpfs there, as on a machine of its own."""
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=0711", "wharfinger-bench", path], check=True
    )


def unmount_below(folder: Path) -> None:
    """Take away what a killed engine left mounted."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


def otp_figures(*, is_quick: bool) -> object:
    """What scripts/bench_otp.py measures, decoded."""
    command = [sys.executable, str(REPOSITORY / "scripts/bench_otp.py"), "--json"]
    if is_quick:
        command += ["--rounds", "1", "--children", "1000"]
    # Its exit status tells of its aims; the figures are there either way.
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    return json.loads(done.stdout)
