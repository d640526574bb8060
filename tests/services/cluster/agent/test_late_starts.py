"""`late_starts`: what the engine could not start, and nothing that was stopped since."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from services.cluster.agent.holdings import Holdings
from services.cluster.agent.late_starts import TRIES, LateStarts
from services.cluster.dispatcher.values import Assignments, SessionFacts
from services.cluster.model.objects import Node
from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.model import State
from services.containers.table import ContainerTable
from services.errors import EngineError, NotFound, Unavailable
from services.networks import Network
from tests.services.cluster.agent.support import AT
from tests.services.containers.support import container

BRIDGE = Network(id="b", name="bridge", driver="bridge")


class Engine:
    """Starts containers, after some failures."""

    def __init__(self, *containers: Container) -> None:
        self.table = ContainerTable()
        self.failures: list[EngineError] = []
        self.started: list[str] = []
        for one in containers:
            self.table.add(one)

    async def start(self, one: Container) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop()
        self.started.append(one.name)


class Networks:
    """The node knows the default bridge, and no network of the cluster."""

    def find(self, ref: str) -> Network:
        if ref == "bridge":
            return BRIDGE
        raise NotFound(ref)


def stopped(number: int, network: str, **wanted: Any) -> Container:
    one = container(State.EXITED, container_id=f"{number:064x}", name=f"c{number}", **wanted)
    networks = {network: EndpointSettings()}
    one.definition = msgspec.structs.replace(one.definition, networks=networks)
    return one


def member() -> Holdings:
    """A node that was in the cluster before the engine began."""
    holdings = Holdings()
    node = Node(id="n1", created_at=AT, updated_at=AT)
    holdings.take_facts(SessionFacts(session_id="s", cluster_id="c", node=node))
    return holdings


async def run(engine: Engine, holdings: Holdings, *, is_first: bool = True) -> None:
    late = LateStarts(engine=engine, networks=Networks(), holdings=holdings, is_first=is_first)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.run)
        await trio.testing.wait_all_tasks_blocked()
        assert engine.started == []  # before the managers have said anything
        holdings.take(Assignments(is_complete=True))


async def test_those_that_need_the_cluster() -> None:
    """By their restart policy, and by the networks that they are in."""
    engine = Engine(
        stopped(1, "back", restart="always"),
        stopped(2, "back"),
        stopped(3, "bridge", restart="always"),
    )
    await run(engine, member())
    assert engine.started == ["c1"]


@pytest.mark.parametrize("holdings", [member(), Holdings()])
async def test_a_later_agent_and_a_new_member_start_nothing(holdings: Holdings) -> None:
    """What is stopped by then was stopped on purpose."""
    engine = Engine(stopped(1, "back", restart="always"))
    await run(engine, holdings, is_first=holdings.node is None)
    assert engine.started == []


async def test_a_start_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """The managers may need a moment for its address; in the end it is given up."""
    engine = Engine(stopped(1, "back", restart="always"))
    engine.failures = [Unavailable("no leader")] * 2
    await run(engine, member())
    assert engine.started == ["c1"]
    hopeless = Engine(stopped(1, "back", restart="always"))
    hopeless.failures = [EngineError("no")] * (TRIES + 1)
    await run(hopeless, member())
    assert (hopeless.started, len(hopeless.failures)) == ([], 1)
