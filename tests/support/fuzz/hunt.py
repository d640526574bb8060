"""Sends requests one after the other, or many at once, and gathers what is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final

from tests.services.api.openapi import Definition
from tests.support.fuzz.generate import Generator
from tests.support.fuzz.oracle import complaints, log_complaint
from tests.support.fuzz.scene import Scene, State
from tests.support.fuzz.wire import Seen, Sent, send

FURNISH_EVERY: Final = 40
CLEAR_EVERY: Final = 200
_UPDATE: Final = re.compile(r"(?:/v[^/]*)?(/(?:services|secrets|configs|nodes)/[^/?]+)/update")


class Hunt:
    """Comes with a seed: the same requests each time, but for the ids in them."""

    def __init__(
        self, scene: Scene, definition: Definition, *, seed: str, good: float = 0.6
    ) -> None:
        self._scene, self._definition, self._seed = scene, definition, seed
        self._daemon = scene.daemon
        self.generator = Generator(definition.document, scene.names, good=good)
        self.faults: list[str] = []
        self.statuses: Counter[int] = Counter()

    def one_by_one(self, operations: Sequence[str], count: int) -> None:
        """Each with all that can be seen of it: its answer, the log, and what there is after it."""
        before = self._scene.state()
        seen_log = self._daemon.log_file.stat().st_size
        for number in range(count):
            if number % CLEAR_EVERY == CLEAR_EVERY - 1 and not self._scene.has_swarm:
                self._scene.clear()
                before = self._scene.state()
            if number % FURNISH_EVERY == 0:
                self._scene.furnish()
                before = self._scene.state()
            random = Random(f"{self._seed}/{number}")
            sent = self._with_version(self._make(operations, random), random)
            seen = self._send(sent)
            log = self._daemon.log_text(since=seen_log)
            seen_log += len(log.encode())
            if told := log_complaint(log):
                self._fault(sent, seen, told)
            if sent.method not in ("GET", "HEAD"):
                after = self._scene.state()
                if 400 <= seen.status < 500 and (changes := _changes(before, after)):
                    self._fault(sent, seen, f"refused, and done: {changes}")
                before = after

    def at_once(self, operations: Sequence[str], count: int, *, workers: int) -> None:
        """Many clients: what each is told, and what the log says in the end."""
        since = self._daemon.log_file.stat().st_size

        def work(worker: int) -> None:
            for number in range(count // workers):
                self._send(self._make(operations, Random(f"{self._seed}/{worker}/{number}")))

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
        if told := log_complaint(self._daemon.log_text(since=since)):
            self.faults.append(f"among many at once: {told}")

    def _make(self, operations: Sequence[str], random: Random) -> Sent:
        return self.generator.request(random.choice(operations), random)

    def _with_version(self, sent: Sent, random: Random) -> Sent:
        """With the version of what is to be updated, most of the time: else nothing would be."""
        match = _UPDATE.match(sent.target)
        if match is None or random.random() > 0.8:
            return sent
        version = self._scene.version_of(match[1])
        target = re.sub(r"([?&])version=[^&]*", r"\1", sent.target)
        target += f"{'&' if '?' in target else '?'}version={version}"
        return sent if version is None else dataclasses.replace(sent, target=target)

    def _send(self, sent: Sent) -> Seen:
        seen = send(self._daemon.socket, sent)
        self.statuses[seen.status] += 1
        method = self.generator.operations[sent.operation].method
        for complaint in complaints(sent, seen, self._definition, method=method):
            self._fault(sent, seen, complaint)
        return seen

    def _fault(self, sent: Sent, seen: Seen, complaint: str) -> None:
        self.faults.append(f"{sent.operation}, {seen.status}: {complaint}\n  {sent}")


def _changes(before: State, after: State) -> list[str]:
    """What is there that was not, and the other way round.

    Containers and their volumes may go by themselves.
    """
    come = [f"+{name}" for kind in after for name in after[kind] - before[kind]]
    gone = [
        f"-{name}"
        for kind in after
        for name in before[kind] - after[kind]
        if kind not in ("containers", "volumes")
    ]
    return come + gone
