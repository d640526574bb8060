"""healthy: a child whose probe fails is ended and counts as crashed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from supervisor.otp import (
    ChildSpec,
    DynamicSupervisor,
    Probe,
    Restart,
    State,
    Supervisor,
    Unhealthy,
    stop_request,
)
from tests.supervisor.otp.stage import Boom, Stage, running


class Patient:
    """A child that answers its probe as it is told."""

    def __init__(self) -> None:
        self.answers: list[bool | Exception | None] = []  # then well; None: no answer
        self.asked_at: list[float] = []

    async def check(self) -> bool:
        """The probe."""
        self.asked_at.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else True
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_unhealthy_child_is_restarted(autojump_clock: MockClock, dynamic: bool) -> None:
    """Three bad answers in a row, of whatever kind, are a crash with Unhealthy."""
    stage, patient = Stage(), Patient()
    probe = Probe(check=patient.check, every_s=10.0, limit_s=2.0, tries=3)
    supervisor = DynamicSupervisor(name="root") if dynamic else Supervisor(name="root")
    async with running(supervisor):
        await supervisor.start_child(stage.spec("a", healthy=probe, restart=Restart.TRANSIENT))
        patient.answers = [False, True, False, ValueError("no idea"), None]
        await trio.sleep(60)
        assert stage.log == ["+a", "-a", "+a"]
        (node,) = supervisor.tree().children
        assert isinstance(node.last_crash, Unhealthy)
        assert node.since == 52.0
        assert patient.asked_at[:5] == [10, 20, 30, 40, 50]


async def test_unhealthy_child_may_drain(autojump_clock: MockClock) -> None:
    """It is asked to stop like any other."""
    ends = []

    async def start() -> None:
        await stop_request().wait()
        await trio.sleep(3)
        ends.append(trio.current_time())

    async def check() -> bool:
        return False

    spec = ChildSpec(id="a", start=start, healthy=Probe(check=check, every_s=1.0, tries=1))
    async with running(Supervisor([spec], name="root")):
        await trio.sleep(4.5)
        assert ends == [4.0]


async def test_probed_child_keeps_its_own_error(autojump_clock: MockClock) -> None:
    """Its crash is not wrapped in a group because of the probe beside it."""
    stage, patient = Stage(), Patient()
    spec = stage.spec("a", healthy=Probe(check=patient.check))
    supervisor = Supervisor([spec], name="root")
    async with running(supervisor):
        await stage.tell("a", "crash")
        assert isinstance(supervisor.tree().children[0].last_crash, Boom)


async def test_probe_ends_with_its_child(autojump_clock: MockClock) -> None:
    """A child that was stopped is not asked any more."""
    stage, patient = Stage(), Patient()
    spec = stage.spec("a", healthy=Probe(check=patient.check, every_s=1.0))
    supervisor = Supervisor([spec], name="root")
    async with running(supervisor):
        await trio.sleep(2.5)
        await supervisor.terminate_child("a")
        await trio.sleep(10)
        assert patient.asked_at == [1, 2]


async def test_terminate_overrides_the_verdict(autojump_clock: MockClock) -> None:
    """A child that drains because it was unhealthy, and is then terminated, is not restarted."""

    async def start() -> None:
        await stop_request().wait()
        await trio.sleep(3)

    async def check() -> bool:
        return False

    spec = ChildSpec(id="a", start=start, healthy=Probe(check=check, every_s=1.0, tries=1))
    supervisor = Supervisor([spec], name="root")
    async with running(supervisor):
        await trio.sleep(2)
        await supervisor.terminate_child("a")
        await trio.sleep(10)
        assert supervisor.which_children()[0].state is State.STOPPED
