"""When a node tells its kernel what to encrypt, and when it lets it be; the kernel is faked."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from services.cluster.model.objects import NetworkKey
from services.cluster.network import encryption
from services.cluster.network.encryption import LOOK_AGAIN_S, NodeEncryption
from services.cluster.network.plan import NodePlan, plan_node
from services.cluster.network.state import NodeNetworkState
from services.errors import EngineError
from services.networks.overlay.encryption import Encryption
from tests.services.cluster.network.views import BEGAN_AT, cluster_network, peer, view

SECRET = view(
    cluster_network("secret", third=7, options={"encrypted": ""}),
    peers=(peer("n1", "10.0.0.1", "10.99.7.2"), peer("n2", "10.0.0.2", "10.99.7.3")),
)
PLAIN = view(cluster_network("plain", third=8), peers=(peer("n3", "10.0.0.3", "10.99.8.3"),))
KEYS = tuple(
    NetworkKey(number=number, key=base64.b64encode(bytes([number]) * 32).decode(), made_at=BEGAN_AT)
    for number in (1, 2)
)


@dataclass
class Kernel:
    """What it was told, in order: an encryption, or the port for which there is to be none."""

    why_not: str = ""
    asked: int = 0
    told: list[Encryption | int] = field(default_factory=list)

    def why_no_esp(self) -> str:
        self.asked += 1
        return self.why_not

    def sync(self, wanted: Encryption) -> int:
        self.told.append(wanted)
        return 1

    def clear(self, port: int) -> int:
        self.told.append(port)
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    async def run_sync(call: object, *args: object) -> object:
        await trio.lowlevel.checkpoint()
        return call(*args)  # type: ignore[operator]

    fake = Kernel()
    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    monkeypatch.setattr(encryption, "why_no_esp", fake.why_no_esp)
    monkeypatch.setattr(encryption, "sync_encryption", fake.sync)
    monkeypatch.setattr(encryption, "clear_encryption", fake.clear)
    return fake


def plan(*views: object, keys: tuple[NetworkKey, ...] | None = KEYS) -> NodePlan:
    state = NodeNetworkState(
        node_id="n1",
        data_path_addr="10.0.0.1",
        networks=views,  # type: ignore[arg-type]
        keys=keys,
    )
    return plan_node(state)


async def test_peers_of_encrypted_networks_are_encrypted_to(kernel: Kernel) -> None:
    """And no others; at the port of such networks. Each round it is compared again."""
    node = NodeEncryption()
    await node.require("secret")
    for _ in range(2):
        await node.have(plan(SECRET, PLAIN))
    first, second = kernel.told
    assert first is second
    assert isinstance(first, Encryption)
    assert (first.own, first.port, first.peers) == ("10.0.0.1", 4790, frozenset({"10.0.0.2"}))
    assert first.sent_by.keys() == {"10.0.0.2"}
    await node.have(plan(SECRET, PLAIN, keys=KEYS[:1]))
    assert kernel.told[-1] != first


async def test_before_keys_are_told_the_kernel_is_left_alone(kernel: Kernel) -> None:
    """An engine that begins anew has none, and its containers go on with those that are there."""
    node = NodeEncryption()
    await node.require("secret")
    await node.have(plan(SECRET, keys=None))
    assert kernel.told == []
    await node.have(plan(SECRET, keys=()))
    (told,) = kernel.told
    assert isinstance(told, Encryption)
    assert told.associations == frozenset()


async def test_without_encrypted_networks_there_is_nothing_once(kernel: Kernel) -> None:
    """Also what an earlier engine may have left."""
    node = NodeEncryption()
    for _ in range(2):
        await node.have(plan(PLAIN, keys=()))
    assert kernel.told == [4790]
    await node.require("secret")
    await node.have(plan(SECRET))
    await node.clear()
    await node.clear()
    assert kernel.told[2:] == [4790]


async def test_a_kernel_that_cannot_is_asked_again_after_a_while(
    kernel: Kernel, autojump_clock: trio.testing.MockClock
) -> None:
    """Not each round: each question has the kernel look for modules."""
    kernel.why_not = "no ESP"
    node = NodeEncryption()
    for _ in range(3):
        with pytest.raises(EngineError, match="network secret is to be encrypted: no ESP"):
            await node.require("secret")
    await node.have(plan(SECRET))
    assert (kernel.asked, kernel.told) == (1, [])
    kernel.why_not = ""
    await trio.sleep(LOOK_AGAIN_S)
    await node.require("secret")
    await node.require("secret")
    assert kernel.asked == 2
