"""What breaks things: seeded strokes, one after the other, each undone before the next."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Final

from benchlib.http import HttpError

from .history import History
from .scene import Scene

STOPPED_S: Final = 2.0
FULL_S: Final = 2.0
CUTS: Final = 4
CUTTING_S: Final = 2.0
PARTS: Final = (
    "root/containerd/connection",
    "root/store/database",
    "root/events/bus",
    "root/events/stream",
    "root/engine/images",
    "root/engine/volumes",
    "root/engine/firewall/helper",
    "root/engine/networks",
    "root/engine/dns",
    "root/engine/keeper",
    "root/engine/packer",
    "root/engine/containers/reconcile",
    "root/engine/builder",
    "root/faces/metrics",
    "root/reloads",
)
"""What the nemesis restarts by hand; the API itself refuses that to its own clients."""
LONGEST_PAUSE_S: Final = 4.0


class Nemesis:
    """Strikes until `ended` is set; whatever it did is undone then."""

    def __init__(self, scene: Scene, history: History, seed: int) -> None:
        self._scene, self._history = scene, history
        self._chance = random.Random(f"{seed}/nemesis")
        self.ended = threading.Event()
        self._is_second = False

    def run(self) -> None:
        """Choose, strike, wait."""
        while not self.ended.wait(self._chance.uniform(0.3, LONGEST_PAUSE_S)):
            name = self._chance.choice(sorted(STROKES))
            self._history.stroke(name)
            try:
                STROKES[name](self)
            except OSError as error:  # what it was to hit has gone
                self._history.stroke(f"{name} missed: {error}")
        if not self._scene.pid:
            self._scene.start()

    def kill_daemon(self) -> None:
        """kill -9, and a new one after a moment."""
        with self._scene.running:
            self._scene.kill()
            time.sleep(self._chance.uniform(0, 1))
            self._scene.start()

    def stop_daemon(self) -> None:
        """It stands still: clients wait, and nothing is lost."""
        with self._standing_still(self._scene.pid):
            time.sleep(STOPPED_S)

    def kill_containerd(self) -> None:
        """The engine starts another one; containers run on."""
        for pid in self._scene.processes("containerd"):
            os.kill(pid, signal.SIGKILL)

    def stop_containerd(self) -> None:
        """It does not answer for a while."""
        for pid in self._scene.processes("containerd")[:1]:
            with self._standing_still(pid):
                time.sleep(STOPPED_S)

    def kill_shim(self) -> None:
        """Its container ends with it; nobody else is to notice."""
        shims = self._scene.processes("containerd-shim")
        if shims:
            self._history.hit_all()  # nobody can tell whose it was by the time it is dead
            os.kill(self._chance.choice(shims), signal.SIGKILL)

    def stop_shim(self) -> None:
        """One container does not answer for a while."""
        shims = self._scene.processes("containerd-shim")
        if shims:
            with self._standing_still(self._chance.choice(shims)):
                time.sleep(STOPPED_S)

    def kill_helper(self) -> None:
        """One of the engine's own processes: of the firewall, of pipes, the proxy."""
        helpers = [pid for pid, words in self._scene.children() if "containerd" not in words]
        if helpers:
            os.kill(self._chance.choice(helpers), signal.SIGKILL)

    def kill_client(self) -> None:
        """A client goes in the midst of what it asked for."""
        calls = list(self._scene.calls)
        if calls:
            os.kill(self._chance.choice(calls), signal.SIGKILL)

    def cut_clients(self) -> None:
        """All connections of clients, some times over."""
        for _ in range(CUTS):
            self._history.cut()
            self._scene.client_cutter.cut()
            time.sleep(self._chance.uniform(0.05, 0.5))

    def cut_registry(self) -> None:
        """What the engine pulls breaks off in the middle, again and again for a while."""
        self._scene.registry_cutter.cut(for_s=CUTTING_S)
        time.sleep(CUTTING_S)

    def restart_part(self) -> None:
        """By the observer, as somebody at its page would."""
        path = self._chance.choice(PARTS)
        try:
            self._scene.call("POST", f"/wharfinger/v1/parts/{path}/restart")
        except HttpError as error:
            if not str(error).startswith(("409", "503")):
                self._history.complain(f"restart of {path}: {error}")

    def change_listeners(self) -> None:
        """A reload adds an API server, or takes it away."""
        scene = self._scene
        self._is_second = not self._is_second
        scene.configure([scene.socket, *([scene.second_host] if self._is_second else [])])
        try:
            scene.call("POST", "/wharfinger/v1/reload")
        except HttpError as error:
            if not str(error).startswith("503"):
                self._history.complain(f"reload: {error}")

    def flush_firewall(self) -> None:
        """As another program's reload does."""
        self._scene.inside("nft", "flush", "ruleset")

    def fill_disk(self) -> None:
        """Nothing can be written for a while."""
        filling, began = self._scene.data / "filling", time.time()
        with suppress(OSError), filling.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(FULL_S)
        filling.unlink()
        self._history.full.append((began, time.time()))

    def jump_clock(self) -> None:
        """The engine's clock is set, forwards or back."""
        self._scene.clock.write_text(str(self._chance.choice([-3600, 3600])))
        time.sleep(1)
        self._scene.clock.write_text("0")

    def slow_runc(self) -> None:
        """runc takes its time."""
        self._scene.delay.write_text("1\n")
        time.sleep(STOPPED_S)
        self._scene.delay.write_text("0\n")

    @contextmanager
    def _standing_still(self, pid: int) -> Iterator[None]:
        if not pid:
            raise ProcessLookupError("it is not there")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


STROKES: Final[Mapping[str, Callable[[Nemesis], None]]] = MappingProxyType(
    {
        "kill daemon": Nemesis.kill_daemon,
        "stop daemon": Nemesis.stop_daemon,
        "kill containerd": Nemesis.kill_containerd,
        "stop containerd": Nemesis.stop_containerd,
        "kill shim": Nemesis.kill_shim,
        "stop shim": Nemesis.stop_shim,
        "kill helper": Nemesis.kill_helper,
        "kill client": Nemesis.kill_client,
        "cut clients": Nemesis.cut_clients,
        "cut registry": Nemesis.cut_registry,
        "restart part": Nemesis.restart_part,
        "change listeners": Nemesis.change_listeners,
        "flush firewall": Nemesis.flush_firewall,
        "fill disk": Nemesis.fill_disk,
        "jump clock": Nemesis.jump_clock,
        "slow runc": Nemesis.slow_runc,
    }
)
