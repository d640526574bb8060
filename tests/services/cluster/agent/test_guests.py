"""Containers started by hand in cluster networks: what they are told when there is no place."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from services.cluster.agent.guests import PLACE_LIMIT_S, GuestTasks
from services.cluster.dispatcher.values import AttachmentWish
from services.cluster.model.objects import Task
from services.cluster.model.task_spec import NetworkAttachmentSpec
from services.containers.model import State
from services.errors import DeadlineExceeded, EngineError
from tests.support.cluster_objects import a_task


class Node:
    """A node with one container; its networks cannot be had if `refusal` says why."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        container = SimpleNamespace(id="c", state=State.CREATED, status=SimpleNamespace())
        self.guests = GuestTasks(
            table=cast(Any, {"c": container}),
            networks=cast(Any, self),
            session=cast(Any, lambda: self),
        )

    async def wait_ready(self, network_ids: Collection[str]) -> None:
        if self.refusal:
            raise EngineError(self.refusal)

    async def attach(self, wish: AttachmentWish) -> str:
        return "t1"


def place() -> Task:
    task = a_task("t1", node="n1", networks={"net1": "10.0.1.3/24"})
    spec = msgspec.structs.replace(
        task.spec, network_attachment_spec=NetworkAttachmentSpec(container_id="c")
    )
    return msgspec.structs.replace(task, spec=spec)


async def test_a_place_that_comes(autojump_clock: trio.testing.MockClock) -> None:
    node = Node()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.guests.prepare, place())
        given = await node.guests.attach("ov", "c", "", [])
    assert (given.network_id, given.address) == ("net1", "10.0.1.3")


async def test_a_network_that_this_node_cannot_have(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The client gets the node's own sentence, and at once."""
    node = Node("network ov is to be encrypted: this kernel cannot")

    async def prepare() -> None:
        with pytest.raises(EngineError, match="this kernel cannot"):
            await node.guests.prepare(place())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prepare)
        with pytest.raises(EngineError, match="network ov is to be encrypted: this kernel cannot"):
            await node.guests.attach("ov", "c", "", [])
    assert trio.current_time() == began


async def test_a_place_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    node = Node()
    began = trio.current_time()
    with pytest.raises(DeadlineExceeded, match="Could not attach to network ov"):
        await node.guests.attach("ov", "c", "", [])
    assert trio.current_time() == began + PLACE_LIMIT_S
