"""Clients: each lives its seeded life with the docker CLI, and records what it was told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from .history import History, Operation
from .scene import Scene
from .seeded import SeededClient

DOUBT_LIMIT_S: Final = 60.0
BUILD: Final = b"FROM busybox\nRUN echo %d > /made && sleep 0.2\nRUN cat /made\n"
COUNTER: Final = "i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done"


class Client(SeededClient):
    """One client with the docker CLI."""

    def __init__(self, scene: Scene, history: History, seed: int, number: int) -> None:
        super().__init__(history.complain, seed, number)
        self._scene, self._history = scene, history

    def docker(self, what: str, subject: str, *arguments: str, stdin: bytes = b"") -> Operation:
        """A call; it counts as not answered when the engine could not be reached or was cut off."""
        with self._history.operation(f"client-{self._number}", what, subject) as operation:
            try:
                done = self._scene.docker(*arguments, stdin=stdin)
            except subprocess.TimeoutExpired:
                operation.answer = "no end"
                self._history.complain(f"docker {' '.join(arguments)}: no end")
                return operation
            words = done.stderr.decode(errors="replace")
            operation.answer = f"{done.returncode} {done.stdout[-200:]!r} {words[-300:]}"
            if done.returncode < 0:  # it was killed
                return operation
            operation.ok = True if done.returncode == 0 else _refusal(words)
        if operation.ok is None:
            time.sleep(0.2)
        return operation

    # ── lives

    def run_to_its_end(self) -> None:
        """`docker run` in the foreground: its code and output are the container's."""
        name, lines, code = self.new_name("run"), self._chance.randint(1, 3000), 3
        fate = self._history.fate(name)
        fate.lines, fate.code = lines, code
        script = f"seq 1 {lines}; exit {code}"
        operation = self.docker("run", name, "run", "--name", name, "busybox", "sh", "-c", script)
        if operation.answer.startswith(f"{code} "):
            fate.exists = fate.ran = True
            operation.ok = True
        elif operation.ok is False:
            fate.exists = None  # made, perhaps, and not started
        if fate.exists and self._chance.random() < 0.5:
            self._remove(name)

    def live_long(self) -> None:
        """A container that counts; execs in it; a stop; perhaps its removal."""
        name = self.new_name("live")
        fate = self._history.fate(name)
        policy = self._chance.choice(["no", "always", "unless-stopped"])
        ran = self.docker(
            "run -d", name, "run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c",
            COUNTER,
        )  # fmt: skip
        if not ran.ok:
            return
        fate.exists = fate.ran = True
        for _ in range(self._chance.randint(0, 4)):
            self._exec(name)
            time.sleep(self._chance.random() * 0.5)
        if self._chance.random() < 0.7:
            fate.was_hit = True
            self.docker("stop", name, "stop", "-t", "1", name)
            if self._chance.random() < 0.7:
                self._remove(name)

    def build(self) -> None:
        """An image of two steps, kept or removed."""
        name = self.new_name("image")
        dockerfile = BUILD % self._chance.randint(0, 3)
        built = self.docker("build", name, "build", "-q", "-t", name, "-", stdin=dockerfile)
        if built.ok and not self.docker("image inspect", name, "image", "inspect", name).ok:
            self._doubt(f"image {name} was built and is not there", name)
        if built.ok:
            self.docker("rmi", name, "rmi", "-f", name)

    def networks(self) -> None:
        """A network, two containers in it that find each other, and all of it removed."""
        network, server = self.new_name("net"), self.new_name("srv")
        if not self.docker("network create", network, "network", "create", network).ok:
            return
        fate = self._history.fate(server)
        ran = self.docker(
            "run -d", server, "run", "-d", "--name", server, "--network", network, "busybox",
            "sleep", "1000",
        )  # fmt: skip
        if ran.ok:
            fate.exists = fate.ran = True
            self.docker(
                "ping", server, "run", "--rm", "--network", network, "busybox", "ping", "-c", "1",
                "-W", "5", server,
            )  # fmt: skip
        fate.was_hit = True
        self._remove(server)
        self.docker("network rm", network, "network", "rm", network)

    def volumes(self) -> None:
        """What one container writes into a volume another one reads."""
        volume, word = self.new_name("vol"), str(self._chance.randint(0, 10**9))
        if not self.docker("volume create", volume, "volume", "create", volume).ok:
            return
        mount = ("--rm", "--network", "none", "-v", f"{volume}:/v", "busybox", "sh", "-c")
        if self.docker("write", volume, "run", *mount, f"echo {word} > /v/x && sync").ok:
            read = self.docker("read", volume, "run", *mount, "cat /v/x")
            if read.ok and word not in read.answer and not self._history.was_cut(read):
                self._history.complain(f"volume {volume}: {word} was written, not {read.answer}")
        self.docker("volume rm", volume, "volume", "rm", "-f", volume)

    def pull(self) -> None:
        """An image from the registry; what it brought is whole, whatever broke on the way."""
        image = self._chance.choice(self._scene.registry.images)
        if self.docker("pull", image.name, "pull", "-q", image.name).ok:
            summed = self.docker(
                "sum", image.name, "run", "--rm", "--network", "none", image.name, "sha256sum",
                "/blob",
            )  # fmt: skip
            if (
                summed.ok
                and image.sha256 not in summed.answer
                and not self._history.was_cut(summed)
            ):
                self._history.complain(f"{image.name} is not what was pushed: {summed.answer}")
        self.docker("rmi", image.name, "rmi", "-f", image.name)

    # ── steps

    def _exec(self, name: str) -> None:
        fate = self._history.fate(name)
        done = self.docker("exec", name, "exec", name, "sh", "-c", "echo said; exit 7")
        if self._history.was_cut(done):
            return
        if done.answer.startswith("0 "):
            self._history.complain(f"exec in {name}: code 0 instead of 7")
        elif done.answer.startswith("7 ") and "said" not in done.answer and not fate.was_hit:
            self._history.complain(f"exec in {name}: its output is missing: {done.answer}")

    def _remove(self, name: str) -> None:
        fate = self._history.fate(name)
        fate.was_hit = True
        fate.exists = False if self.docker("rm", name, "rm", "-f", "-v", name).ok else None

    def _doubt(self, text: str, name: str) -> None:
        """Ask until the engine says one thing or the other."""
        deadline = time.monotonic() + DOUBT_LIMIT_S
        while time.monotonic() < deadline:
            time.sleep(1)
            with suppress(OSError, subprocess.TimeoutExpired):
                looked = self._scene.safely("image", "inspect", name)
                if looked.returncode == 0:
                    return
                if b"No such image" in looked.stderr:
                    self._history.complain(text)
                    return
        self._history.complain(f"{text}, or nobody says")


def _refusal(words: str) -> bool | None:
    """False: the engine said no; None: it said nothing, or was cut off."""
    cut = ("Cannot connect", "EOF", "connection reset", "broken pipe", "closed network", "hijack")
    return None if any(word in words for word in cut) else False


LIVES: Final[Mapping[str, Callable[[Client], None]]] = MappingProxyType(
    {
        "run": Client.run_to_its_end,
        "live": Client.live_long,
        "build": Client.build,
        "networks": Client.networks,
        "pull": Client.pull,
        "volumes": Client.volumes,
    }
)
