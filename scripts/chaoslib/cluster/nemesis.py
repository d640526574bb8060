"""What breaks the swarm: seeded strokes at managers, their etcds, and hosts' links."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from lablib.engines import Engine

from .history import ClusterHistory, Fault
from .load import REGISTERS
from .scene import Answer, ClusterScene, ask, wait

HEAL_LIMIT_S: Final = 120.0
QUIET_S: Final = (2.0, 5.0)  # between two strokes, for what the first one may have left
DOWN_S: Final = (0.0, 3.0)
CUT_S: Final = (5.0, 15.0)
ONE_CUT_S: Final = 6.0  # when each is struck once only
ONE_DOWN_S: Final = 0.5
ONE_QUIET_S: Final = 1.0
NOTICED_S: Final = 5.0  # by then a manager without the others knows that it is
AT_ONCE_S: Final = 1.0
MISSED_LIMIT_S: Final = 3.0  # after NOTICED_S
RECOVERY: Final = "swarm init --force-new-cluster"


class Nemesis:
    """Strikes until `ended` is set; whatever it did is undone then."""

    def __init__(self, scene: ClusterScene, history: ClusterHistory, seed: int) -> None:
        self._scene, self._history = scene, history
        self._chance = random.Random(f"{seed}/nemesis")
        self._cut_s, self._down_s = CUT_S, DOWN_S
        self.ended = threading.Event()

    def run(self) -> None:
        """Choose, strike, wait."""
        targets = [name for name in sorted(TARGETS) if name != "worker" or self._scene.workers]
        while not self.ended.wait(self._chance.uniform(*QUIET_S)):
            what, target = self._chance.choice(sorted(STROKES)), self._chance.choice(targets)
            if target == "worker" and "etcd" in what:
                continue
            self._strike(what, target)

    def run_each(self) -> None:
        """Each stroke once, at the leader; `ended` is not waited for."""
        self._cut_s, self._down_s = (ONE_CUT_S, ONE_CUT_S), (ONE_DOWN_S, ONE_DOWN_S)
        for what in STROKES:
            self._strike(what, "leader")
            time.sleep(ONE_QUIET_S)

    def _strike(self, what: str, target: str) -> None:
        victim = TARGETS[target](self)
        if victim is None:
            return
        others = [engine for engine in self._scene.managers if engine is not victim]
        name = f"{what} of {target}"
        self._history.stroke(name)
        try:
            with self._history.fault(name, victim.host.name) as fault:
                STROKES[what](self, victim, others, fault)
                if not wait(lambda: self._scene.is_whole(self._scene.managers), HEAL_LIMIT_S):
                    self._history.complain(f"{name}: not whole again in {HEAL_LIMIT_S:g} s")
        except (OSError, TimeoutError) as error:
            self._history.complain(f"{name}: {error}")

    # ── whom

    def _leader(self) -> Engine | None:
        id_ = self._scene.leader_id(asked=self._scene.managers)
        return self._scene.engine_of(id_) if id_ else None

    def _follower(self) -> Engine | None:
        leader = self._leader()
        return self._chance.choice([e for e in self._scene.managers if e is not leader])

    def _store_leader(self) -> Engine | None:
        return self._scene.store_leader()

    def _worker(self) -> Engine | None:
        return self._chance.choice(self._scene.workers)

    # ── what

    def _kill_daemon(self, victim: Engine, others: list[Engine], fault: Fault) -> None:
        """Its etcd ends with it: nothing of a manager outlives its daemon."""
        victim.kill()
        self._start_again(victim, others, fault)

    def _kill_etcd(self, victim: Engine, _: list[Engine], fault: Fault) -> None:
        """The daemon starts another one."""
        self._scene.kill_etcd(victim)
        fault.undone_s = self._history.now_s()

    def _kill_both(self, victim: Engine, others: list[Engine], fault: Fault) -> None:
        """etcd first, so that its daemon may see it go."""
        self._scene.kill_etcd(victim)
        time.sleep(self._chance.uniform(0, 0.1))
        victim.kill()
        self._start_again(victim, others, fault)

    def _cut(self, victim: Engine, others: list[Engine], fault: Fault) -> None:
        """Nobody hears of it; a manager that is alone says how old its answers are."""
        length_s = self._chance.uniform(*self._cut_s)
        victim.host.cut()
        try:
            began = time.monotonic()
            if victim in self._scene.managers:
                time.sleep(NOTICED_S)
                self._check_alone(victim)
                self._check_missed(victim, others)
            time.sleep(max(0.0, began + length_s - time.monotonic()))
            leads = self._scene.leader_id(asked=others)
        finally:
            victim.host.mend()
        fault.undone_s = self._history.now_s()
        self._check_peace(victim, others, leads)

    def _start_again(self, victim: Engine, others: list[Engine], fault: Fault) -> None:
        time.sleep(self._chance.uniform(*self._down_s))
        leads = self._scene.leader_id(asked=others)
        victim.start()
        victim.wait_answering()
        fault.undone_s = self._history.now_s()
        self._check_peace(victim, others, leads)

    def _check_peace(self, victim: Engine, others: list[Engine], leads: str) -> None:
        """Who led before somebody came back leads after that."""
        if not wait(lambda: self._scene.is_whole(others), HEAL_LIMIT_S):
            return  # told by the caller
        now = self._scene.leader_id(asked=others)
        # Who is back before its term is over may go on, or another one may follow it.
        if leads not in ("", self._scene.node_ids[victim.host.name], now):
            self._history.unrest.append(
                f"{victim.host.name} came back, and another node leads than before"
            )

    def _check_missed(self, victim: Engine, others: list[Engine]) -> None:
        """The others say that a manager which they do not hear of is not to be reached."""
        node_id = self._scene.node_ids[victim.host.name]

        def is_missed(engine: Engine) -> bool:
            node = self._scene.look(engine, f"/nodes/{node_id}") or {}
            return bool(node.get("ManagerStatus", {}).get("Reachability") == "unreachable")

        for engine in others:
            if not wait(partial(is_missed, engine), MISSED_LIMIT_S):
                self._history.late.append(f"{engine.host.name} does not miss {victim.host.name}")

    def _check_alone(self, victim: Engine) -> None:
        """It answers with an age, and refuses writes at once, in a sentence that helps."""
        subject = REGISTERS[0]
        try:
            read = ask(victim, "GET", f"/services/{subject}")
            if not read.is_good or int(read.fields.get("Age", "0")) < 1:
                self._history.complain(f"alone, a read is answered with {read.status} and no age")
                return
            began = time.monotonic()
            refused = self._written_alone(victim, read)
            took_s = time.monotonic() - began
        except (OSError, http.client.HTTPException) as error:
            self._history.complain(f"alone, {victim.host.name} does not answer: {error!r}")
            return
        if refused.status != 503 or RECOVERY not in refused.text:
            self._history.complain(f"alone, a write gets {refused.status} {refused.text}")
        elif took_s > AT_ONCE_S:
            self._history.late.append(f"alone, a write was refused after {took_s:.1f} s")

    @staticmethod
    def _written_alone(victim: Engine, read: Answer) -> Answer:
        service = read.body
        spec, version = service["Spec"], service["Version"]["Index"]
        return ask(victim, "POST", f"/services/{service['ID']}/update?version={version}", spec)


Stroke = Callable[[Nemesis, Engine, list[Engine], Fault], None]

STROKES: Final[Mapping[str, Stroke]] = MappingProxyType(
    {
        "kill daemon": Nemesis._kill_daemon,
        "kill etcd": Nemesis._kill_etcd,
        "kill daemon and etcd": Nemesis._kill_both,
        "cut link": Nemesis._cut,
    }
)

TARGETS: Final[Mapping[str, Callable[[Nemesis], Engine | None]]] = MappingProxyType(
    {
        "leader": Nemesis._leader,
        "follower": Nemesis._follower,
        "store's leader": Nemesis._store_leader,
        "worker": Nemesis._worker,
    }
)
