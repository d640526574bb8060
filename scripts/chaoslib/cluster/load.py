"""Clients of the swarm: each lives its seeded life with the API of its managers, and records it."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

from lablib.engines import Engine

from chaoslib.seeded import SeededClient

from . import specs
from .history import ClusterHistory, Read, Write
from .scene import Answer, ClusterScene, NotThere, ask

REGISTERS: Final = ("register-0", "register-1")
"""Services without tasks, which all clients change: whoever loses an update is found there."""
SCALED: Final = "scaled"
RENEWED: Final = "renewed"
STEADY: Final = "steady"
"""A service that nobody changes: its containers run throughout."""
MOST_REPLICAS: Final = 4
PROBE_PAUSE_S: Final = 0.05
NOT_THERE: Final = "not there"
_NOBODY_KNOWS: Final = (503, 504)


def probe_of(engine: Engine) -> str:
    """The service through which one manager's answers are timed."""
    return f"probe-{engine.host.name}"


class Client(SeededClient):
    """One client with the API. `number` also says which manager it likes."""

    # The first that fits counts. A write that was cut off is recorded.
    EXPECTED = MappingProxyType({NotThere: 0.1, OSError: 0.05, http.client.HTTPException: 0.05})

    def __init__(
        self, scene: ClusterScene, history: ClusterHistory, seed: int, number: int
    ) -> None:
        super().__init__(history.complain, seed, number)
        self._scene, self._history = scene, history

    def manager(self) -> Engine:
        """Mostly the one that it likes."""
        managers = self._scene.managers
        if self._chance.random() < 0.3:
            return self._chance.choice(managers)
        return managers[self._number % len(managers)]

    # ── calls

    def call(
        self, engine: Engine, write: Write, method: str, target: str, body: object = None
    ) -> Answer | None:
        """A call that changes something, recorded. None when there was no answer.

        Raises NotThere.
        """
        write.host = engine.host.name
        with self._history.writing(write):
            try:
                answer = ask(engine, method, target, body)
            except NotThere:
                write.ok, write.answer = False, NOT_THERE
                raise
            except (OSError, http.client.HTTPException) as error:
                write.answer = repr(error)
                return None
            write.answer = f"{answer.status} {answer.text.strip()[:300]}"
            write.ok = None if answer.status in _NOBODY_KNOWS else answer.is_good
        if answer.status == 500 and "out of sequence" not in answer.text:
            self._history.complain(f"{write.host}: {write.what} {write.subject}: {write.answer}")
        return answer

    def read(self, engine: Engine, subject: str) -> dict[str, Any] | None:
        """A service as a manager has it, recorded; None for none."""
        began_s = self._history.now_s()
        answer = ask(engine, "GET", f"/services/{subject}")
        if not answer.is_good:
            return None
        service: dict[str, Any] = answer.body
        content = specs.content_of(service["Spec"])
        version = int(service["Version"]["Index"])
        self._history.was_read(
            Read(engine.host.name, subject, version, content, began_s, self._history.now_s())
        )
        return service

    def update(
        self, engine: Engine, subject: str, what: str, change: Callable[[dict[str, Any]], None]
    ) -> None:
        """Read a service, change it, and write it at the version that was read."""
        service = self.read(engine, subject)
        if service is None:
            return
        spec, version = service["Spec"], int(service["Version"]["Index"])
        write = Write(f"client-{self._number}", what, subject, 0.0)
        write.seen, write.before = version, specs.value_of(spec)
        write.value = self._history.new_value()
        spec["Labels"]["n"] = str(write.value)
        change(spec)
        write.content = specs.content_of(spec)
        target = f"/services/{service['ID']}/update?version={version}"
        answer = self.call(engine, write, "POST", target, spec)
        if answer is None or write.ok is None:
            time.sleep(0.05)

    def make(self, engine: Engine, spec: dict[str, Any]) -> Answer | None:
        """A new service."""
        write = Write(f"client-{self._number}", "service create", spec["Name"], 0.0)
        write.value, write.content = specs.value_of(spec), specs.content_of(spec)
        return self.call(engine, write, "POST", "/services/create", spec)

    def remove(self, engine: Engine, kind: str, name: str) -> None:
        """A service, secret or config."""
        write = Write(f"client-{self._number}", f"{kind} rm", name, 0.0)
        self.call(engine, write, "DELETE", f"/{kind}s/{name}")

    # ── lives

    def probe(self) -> None:
        """One label after another through one manager."""
        engine = self._scene.managers[self._number % len(self._scene.managers)]
        self.update(engine, probe_of(engine), "probe", _unchanged)
        time.sleep(PROBE_PAUSE_S)

    def label(self) -> None:
        """A number into a service that others change too."""
        subject = self._chance.choice(REGISTERS)
        self.update(self.manager(), subject, "label", _unchanged)
        time.sleep(self._chance.uniform(0, 0.3))

    def scale(self) -> None:
        """Another number of tasks."""
        replicas = self._chance.randint(0, MOST_REPLICAS)

        def change(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = replicas

        self.update(self.manager(), SCALED, "scale", change)
        time.sleep(self._chance.uniform(2, 5))

    def renew(self) -> None:
        """Another environment, for which its tasks are replaced."""
        value = self._history.new_value()

        def change(spec: dict[str, Any]) -> None:
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = [f"N={value}"]

        self.update(self.manager(), RENEWED, "env", change)
        time.sleep(self._chance.uniform(3, 8))

    def documents(self) -> None:
        """A secret or a config comes, and perhaps goes."""
        kind = self._chance.choice(["secret", "config"])
        name = self.new_name(kind)
        write = Write(f"client-{self._number}", f"{kind} create", name, 0.0)
        write.value = self._history.new_value()
        spec = specs.document(name, write.value)
        self.call(self.manager(), write, "POST", f"/{kind}s/create", spec)
        time.sleep(self._chance.uniform(0, 0.5))
        if self._chance.random() < 0.7:
            self.remove(self.manager(), kind, name)

    def come_and_go(self) -> None:
        """A service of one task comes, is changed, and goes."""
        name = self.new_name("come")
        spec = specs.service(name, self._history.new_value(), replicas=1, networks=True)
        self.make(self.manager(), spec)
        for _ in range(self._chance.randint(0, 3)):
            time.sleep(self._chance.uniform(0.5, 2))
            self.update(self.manager(), name, "label", _unchanged)
        self.remove(self.manager(), "service", name)
        time.sleep(self._chance.uniform(0, 2))

    def dangle(self) -> None:
        """A service that names a secret comes in the instant in which the secret goes."""
        name = self.new_name("named")
        value = self._history.new_value()
        write = Write(f"client-{self._number}", "secret create", name, 0.0, value=value)
        made = self.call(
            self.manager(), write, "POST", "/secrets/create", specs.document(name, value)
        )
        if made is None or not made.is_good:
            return
        secret = f"{made.body['ID']}={name}"
        spec = specs.service(f"of-{name}", value, replicas=0, secret=secret)
        maker, remover = self.manager(), self.manager()
        removing = threading.Thread(target=self._quietly_remove, args=(remover, name))
        removing.start()
        time.sleep(self._chance.uniform(0, 0.02))
        with suppress(NotThere):
            self.make(maker, spec)
        removing.join()
        if self._chance.random() < 0.5:
            self.remove(self.manager(), "service", f"of-{name}")
        time.sleep(self._chance.uniform(0, 0.3))

    def _quietly_remove(self, engine: Engine, name: str) -> None:
        with suppress(NotThere):
            self.remove(engine, "secret", name)


def _unchanged(_: dict[str, Any]) -> None:
    """Only the number is another one."""


LIVES: Final[Mapping[str, Callable[[Client], None]]] = MappingProxyType(
    {
        "label": Client.label,
        "documents": Client.documents,
        "dangle": Client.dangle,
        "come and go": Client.come_and_go,
        "scale": Client.scale,
        "renew": Client.renew,
    }
)
