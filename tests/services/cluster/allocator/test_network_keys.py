"""When the cluster has keys for encrypted networks, and how long each of them lasts."""

from __future__ import annotations

from datetime import timedelta

from services.cluster.allocator.network_keys import RENEW_EVERY, NetworkKeys, random_key
from services.cluster.model.objects import Cluster, ClusterNetwork, NetworkKey
from services.cluster.model.snapshot import Diff, Put
from services.cluster.model.specs import NetworkSpec
from services.cluster.model.wire import utc_now
from tests.support.memory_store import MemoryStore

NOW = utc_now()


class World:
    """A cluster to which what the rule decides is done."""

    def __init__(self, *networks: dict[str, str]) -> None:
        self.cluster = Cluster(id="c", created_at=NOW, updated_at=NOW)
        self.networks = [
            ClusterNetwork(
                id=f"n{number}",
                created_at=NOW,
                updated_at=NOW,
                spec=NetworkSpec(name=f"n{number}", options=options),
            )
            for number, options in enumerate(networks)
        ]
        self.rule = NetworkKeys()

    def ask(self, after: timedelta = timedelta(0)) -> float | None:
        """What the rule decides so much later is done; when it wants to be asked again."""
        snapshot = MemoryStore([self.cluster, *self.networks]).snapshot()
        decision = self.rule.decide(snapshot, Diff(is_whole=True), NOW + after)
        for transaction in decision.transactions:
            for change in transaction.changes:
                assert isinstance(change, Put)
                assert isinstance(change.object, Cluster)
                self.cluster = change.object
        return decision.again_in_s

    @property
    def keys(self) -> list[NetworkKey]:
        return self.cluster.network_keys

    @property
    def numbers(self) -> list[int]:
        return [key.number for key in self.keys]


def test_without_an_encrypted_network_there_are_none() -> None:
    """Nor is anything written."""
    world = World({}, {"encrypted": "false"})
    assert world.ask() is None
    assert world.keys == []


def test_there_are_two_at_once() -> None:
    """One to send with, and the next one. They are random, and differ."""
    world = World({}, {"encrypted": ""})
    world.ask()
    assert world.numbers == [1, 2]
    assert len({key.key for key in world.keys}) == 2
    assert len(random_key()) == 44


def test_they_are_renewed_each_hour() -> None:
    """And not before; three are known at most. A leader that comes later goes on with them."""
    world = World({"encrypted": ""})
    world.ask()
    first = world.keys
    assert world.ask(RENEW_EVERY - timedelta(seconds=9)) == 9.0
    assert world.keys == first
    world.rule = NetworkKeys()
    world.ask(RENEW_EVERY)
    assert world.numbers == [1, 2, 3]
    assert world.keys[:2] == first
    assert world.ask(RENEW_EVERY) == RENEW_EVERY.total_seconds()
    world.ask(3 * RENEW_EVERY)
    assert world.numbers == [2, 3, 4]


def test_they_go_with_the_last_encrypted_network() -> None:
    """The next one has others."""
    world = World({"encrypted": ""})
    world.ask()
    before = {key.key for key in world.keys}
    encrypted, world.networks = world.networks, []
    world.ask()
    assert world.keys == []
    world.networks = encrypted
    world.ask()
    assert before.isdisjoint(key.key for key in world.keys)
