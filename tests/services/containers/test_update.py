"""Updates: what is refused, what the kernel is told, and in which order things become true."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from services.containers import Container, State
from services.containers.config import HostConfig, RestartPolicy, ThrottleDevice
from services.containers.model import Definition
from services.containers.update import LIMITS, Updater, conflict_with, merged
from services.errors import Conflict, EngineError, InvalidParameter, NotFound, Unavailable
from services.events import Event
from services.system import CgroupFacts, HostFacts
from tests.services.api.containers import container, exited, filled, running

MIB = 1 << 20
FACTS = HostFacts(ncpu=4, cgroup=CgroupFacts(cpus="0-3", mems="0"))


@dataclass
class World:
    """The kernel and the disk; keeps what they were told, in order. Either can refuse."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    kernel_error: Exception | None = None
    device_error: Exception | None = None

    async def update(self, id: str, resources: bytes) -> None:
        """containerd's."""
        if self.kernel_error:
            raise self.kernel_error
        self.told.append(("kernel", msgspec.json.decode(resources)))

    def hold(self, container: Container, host: HostConfig) -> None:
        """The devices'."""
        if self.device_error:
            raise self.device_error
        self.told.append(("devices", host))

    async def change_status(self, container: Container, *events: Event, **changes: Any) -> None:
        """The journal's."""
        assert not events
        self.told.append(("status", changes))
        container.replace(status=msgspec.structs.replace(container.status, **changes))

    async def set_definition(
        self, container: Container, definition: Definition, *events: Event, **changes: Any
    ) -> None:
        """The journal's."""
        self.told += [("disk", definition.host_config), *(("event", e.action) for e in events)]
        status = msgspec.structs.replace(container.status, **changes)
        container.replace(definition=definition, status=status)


def updater(world: World, facts: HostFacts = FACTS) -> Updater:
    """One that speaks to `world`."""
    return Updater(tasks=world, devices=world, journal=world, facts=facts)


def limited(status: Any = None, **limits: Any) -> Container:
    """A container with these limits, running unless a status is given."""
    return container(host_config=filled(HostConfig(**limits)), status=status or running())


async def test_the_kernel_is_told_before_the_disk_and_the_disk_before_the_event() -> None:
    """A record of limits that the kernel refuses is never written, but that it is being asked."""
    world, one = World(), limited(memory=32 * MIB)
    wanted = HostConfig(memory=48 * MIB, memory_swap=96 * MIB)
    assert await updater(world).update(one, wanted) == []
    assert [what for what, _ in world.told] == ["status", "kernel", "disk", "event"]
    assert one.definition.host_config.memory == 48 * MIB
    assert one.status.updating is None


async def test_an_update_that_was_cut_short_is_carried_to_its_end() -> None:
    """Whether the kernel had been told or not, it and the record agree afterwards."""
    world, one = World(), limited(memory=32 * MIB)
    host = filled(HostConfig(memory=48 * MIB, memory_swap=96 * MIB))
    one.replace(status=msgspec.structs.replace(one.status, updating=host))
    await updater(world).finish(one)
    assert [what for what, _ in world.told] == ["kernel", "disk", "event"]
    assert (one.definition.host_config, one.status.updating) == (host, None)
    await updater(world).finish(one)
    assert len(world.told) == 3


async def test_an_update_that_the_kernel_refuses_is_not_tried_for_ever() -> None:
    """Nobody was told that it had succeeded."""
    world, one = World(kernel_error=EngineError("device or resource busy")), limited()
    before = one.definition
    host = filled(HostConfig(cpu_shares=100))
    one.replace(status=msgspec.structs.replace(one.status, updating=host))
    await updater(world).finish(one)
    assert (one.definition, one.status.updating) == (before, None)


async def test_an_update_that_is_in_doubt_is_taken_back_as_soon_as_may_be() -> None:
    """Who was told that containerd does not answer must not find it made later."""
    world, one = World(kernel_error=Unavailable("containerd is not answering")), limited()
    before = one.definition
    with pytest.raises(Unavailable):
        await updater(world).update(one, HostConfig(cpu_shares=100))
    with pytest.raises(Unavailable):
        await updater(world).finish(one)
    kept = one.status.updating
    assert kept == before.host_config
    world.kernel_error = None
    world.told.clear()
    await updater(world).finish(one)
    assert [what for what, _ in world.told] == ["kernel", "status"]  # and no event
    assert world.told[0][1].get("cpu", {}).get("shares", 0) != 100
    assert one.definition == before
    assert one.status.updating is None


async def test_an_update_that_cannot_be_recorded_is_taken_back() -> None:
    """The kernel has the limits of the record again."""

    class FullDisk(World):
        async def set_definition(
            self, container: Container, definition: Definition, *events: Event, **changes: Any
        ) -> None:
            raise EngineError("database or disk is full")

    world, one = FullDisk(), limited(pids_limit=5)
    with pytest.raises(EngineError, match="disk is full"):
        await updater(world).update(one, HostConfig(pids_limit=7))
    limits = [told["pids"]["limit"] for what, told in world.told if what == "kernel"]
    assert limits == [7, 5]
    assert (one.definition.host_config.pids_limit, one.status.updating) == (5, None)


async def test_an_update_that_was_cut_short_stays_to_be_done_while_containerd_is_away() -> None:
    """Nobody was told anything of it yet."""
    world, one = World(kernel_error=Unavailable("containerd is not answering")), limited()
    host = filled(HostConfig(cpu_shares=100))
    one.replace(status=msgspec.structs.replace(one.status, updating=host))
    with pytest.raises(Unavailable):
        await updater(world).finish(one)
    assert one.status.updating == host


async def test_the_kernel_is_told_all_limits() -> None:
    """The runtime forgets those of its own record that it is not told again."""
    world = World()
    one = limited(memory=32 * MIB, nano_cpus=10**9, pids_limit=5)
    await updater(world).update(one, HostConfig(pids_limit=0))
    told = dict(world.told)["kernel"]
    assert told["pids"] == {"limit": -1}
    assert told["cpu"] == {"period": 100_000, "quota": 100_000}
    assert told["memory"]["limit"] == 32 * MIB


async def test_limits_of_devices_are_held_after_the_runtime_was_told() -> None:
    """The runtime would put those of the start back; [] takes all of a kind away."""
    world = World()
    zero, null = ThrottleDevice(path="/dev/zero", rate=5), ThrottleDevice(path="/dev/null", rate=7)
    one = limited(blkio_device_read_bps=[zero], blkio_device_write_iops=[null])
    await updater(world).update(one, HostConfig(blkio_device_read_bps=[null]))
    assert [what for what, _ in world.told] == ["status", "kernel", "devices", "disk", "event"]
    assert "blockIO" not in world.told[1][1]
    held = world.told[2][1]
    assert held == one.definition.host_config
    assert (held.blkio_device_read_bps, held.blkio_device_write_iops) == ([null], [null])
    await updater(world).update(
        one, HostConfig(blkio_device_write_iops=[], blkio_device_read_bps=[])
    )
    assert world.told[7][0] == "devices"
    assert one.definition.host_config.blkio_device_write_iops == []
    await updater(world).update(one, HostConfig(cpu_shares=100))
    assert [what for what, _ in world.told[10:]] == ["status", "kernel", "disk", "event"]


async def test_a_device_that_is_not_there_cannot_be_limited() -> None:
    """Nothing is told or recorded."""
    world, one = World(), limited()
    wanted = HostConfig(blkio_device_read_bps=[ThrottleDevice(path="/dev/none", rate=1)])
    with pytest.raises(InvalidParameter, match="stat /dev/none: no such file or directory"):
        await updater(world).update(one, wanted)
    assert world.told == []


async def test_a_device_that_cannot_be_limited_is_no_update() -> None:
    """The record stays as it was."""
    world, one = World(device_error=OSError(22, "Invalid argument")), limited()
    wanted = HostConfig(blkio_device_read_bps=[ThrottleDevice(path="/dev/null", rate=1)])
    with pytest.raises(EngineError, match=r"Cannot update container .*: .*Invalid argument"):
        await updater(world).update(one, wanted)
    assert one.status.updating is None
    assert one.definition.host_config.blkio_device_read_bps is None


async def test_block_devices_are_left_as_they_are() -> None:
    """Unless the request names them."""
    world = World()
    one = limited(blkio_device_read_bps=[ThrottleDevice(path="/dev/x", rate=1)])
    await updater(world).update(one, HostConfig(cpu_shares=100))
    assert "blockIO" not in dict(world.told)["kernel"]
    assert dict(world.told)["devices"] == one.definition.host_config
    assert one.definition.host_config.blkio_device_read_bps


async def test_what_the_kernel_refuses_is_not_recorded() -> None:
    """The error is of the same kind and says which container."""
    world, one = World(kernel_error=EngineError("device or resource busy")), limited()
    before = one.definition
    with pytest.raises(EngineError, match=f"Cannot update container {one.id}: device or resource"):
        await updater(world).update(one, HostConfig(cpu_shares=100))
    assert [what for what, _ in world.told] == ["status", "status"]
    assert (one.definition, one.status.updating) == (before, None)


async def test_a_task_that_has_just_ended_is_no_error() -> None:
    """The record is what its next start follows."""
    world, one = World(kernel_error=NotFound("no such task")), limited()
    await updater(world).update(one, HostConfig(cpu_shares=100))
    assert one.definition.host_config.cpu_shares == 100


@pytest.mark.parametrize(
    "wanted",
    [HostConfig(restart_policy=RestartPolicy(name="always")), HostConfig()],
    ids=["policy", "nothing"],
)
async def test_without_limits_the_kernel_is_not_troubled(wanted: HostConfig) -> None:
    """A policy is for us alone."""
    world, one = World(), limited()
    await updater(world).update(one, wanted)
    assert [what for what, _ in world.told] == ["disk", "event"]


async def test_a_stopped_container_is_changed_on_disk_alone() -> None:
    """Its next start has the limits."""
    world, one = World(), limited(status=exited())
    await updater(world).update(one, HostConfig(cpuset_cpus="0"))
    assert [what for what, _ in world.told] == ["disk", "event"]
    assert one.definition.host_config.cpuset_cpus == "0"


@pytest.mark.parametrize("state", [State.REMOVING, State.DEAD])
async def test_a_container_that_is_being_removed_is_left_alone(state: State) -> None:
    """dockerd's words."""
    world, one = World(), limited(status=exited(state=state))
    with pytest.raises(Conflict, match="marked for removal"):
        await updater(world).update(one, HostConfig(cpu_shares=100))
    assert world.told == []


async def test_limits_that_are_impossible_together_are_refused() -> None:
    """dockerd records them, and the container cannot be started again."""
    world, one = World(), limited(status=exited(), memory=64 * MIB)
    with pytest.raises(InvalidParameter, match="memoryswap limit should be larger"):
        await updater(world).update(one, HostConfig(memory_swap=10 * MIB))
    assert world.told == []


async def test_what_the_kernel_lacks_is_dropped_with_a_warning() -> None:
    """As at create."""
    facts = HostFacts(cgroup=CgroupFacts(pids_limit=False))
    world, one = World(), limited()
    warnings = await updater(world, facts).update(one, HostConfig(pids_limit=5))
    assert ["PIDs limit discarded" in warning for warning in warnings] == [True]
    assert one.definition.host_config.pids_limit is None


@pytest.mark.parametrize(
    ("present", "wanted", "words"),
    [
        ({"cpu_period": 10_000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Period"),
        ({"cpu_quota": 10_000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Quota"),
        ({"nano_cpus": 1}, {"cpu_period": 1}, "CPU Period cannot be updated as NanoCPUs"),
        ({"nano_cpus": 1}, {"cpu_quota": 1}, "CPU Quota cannot be updated as NanoCPUs"),
        ({}, {"memory": 1}, "update the memoryswap at the same time"),
        ({"memory": 1, "memory_swap": 2}, {"memory": 3}, "update the memoryswap at the same"),
        ({"memory": 1, "memory_swap": 2}, {"memory": 2}, None),
        ({"memory": 1, "memory_swap": 2}, {"memory": 3, "memory_swap": -1}, None),
        ({"nano_cpus": 1}, {"nano_cpus": 2}, None),
        (
            {"auto_remove": True},
            {"restart_policy": RestartPolicy(name="always")},
            "AutoRemove is enabled",
        ),
        ({"auto_remove": True}, {"restart_policy": RestartPolicy(name="no")}, None),
        ({}, {}, None),
    ],
)
def test_what_a_container_has_already_can_forbid(
    present: dict[str, Any], wanted: dict[str, Any], words: str | None
) -> None:
    """Each clash in dockerd's words, and what is none."""
    found = conflict_with(HostConfig(**present), HostConfig(**wanted))
    assert found is None if words is None else words in str(found)


@pytest.mark.parametrize(("wanted", "held"), [(1, 2), (2, 2), (2**20, 262_144)])
def test_shares_are_those_that_the_kernel_takes(wanted: int, held: int) -> None:
    """As at create. dockerd records others, and the container cannot be started again."""
    assert merged(HostConfig(), HostConfig(cpu_shares=wanted)).cpu_shares == held


def test_a_merge_takes_what_is_set_and_nothing_else() -> None:
    """What cannot be changed stays, whatever the request says."""
    present = HostConfig(memory=1, cpuset_cpus="0", privileged=True, binds=["/a:/b"])
    wanted = HostConfig(memory=2, pids_limit=0, privileged=False, binds=["/x:/y"])
    found = merged(present, wanted)
    assert (found.memory, found.cpuset_cpus, found.pids_limit) == (2, "0", 0)
    assert (found.privileged, found.binds) == (True, ["/a:/b"])
    assert set(LIMITS) <= set(HostConfig.__struct_fields__)
