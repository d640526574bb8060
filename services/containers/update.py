"""Changing a container's limits and restart policy, also while it runs.

What is about to be told to the kernel is written down first, as a thing that is under way; then
the kernel is told, and the definition is written after it, before the answer. The other order could
leave a definition that the kernel refuses. Killed between the two, the next daemon carries the
update to its end, so that no container runs within limits that its record does not have. An update
that is refused is taken back: who was told that it failed does not find it made later.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
import trio
from loguru import logger

from services.containers import spec
from services.containers.config import HostConfig
from services.containers.container import Container
from services.containers.device_limits import DEVICE_LIMITS
from services.containers.journal import container_event
from services.containers.model import Definition, State
from services.errors import Conflict, DeadlineExceeded, EngineError, NotFound, Unavailable
from services.events import Event
from services.system import HostFacts

log = logger.bind(service="containers")

LIMITS: Final = (
    "blkio_weight", "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpu_realtime_period",
    "cpu_realtime_runtime", "cpuset_cpus", "cpuset_mems", "memory", "memory_swap",
    "memory_reservation", "pids_limit", "kernel_memory", "kernel_memory_tcp", *DEVICE_LIMITS,
)  # fmt: skip
"""What can be changed; everything else in a request is passed over, as dockerd does.

Of the lists with a limit for each device [] takes all of a kind away, None leaves them.
"""


_NO_DEVICES: Final[Mapping[str, None]] = MappingProxyType(dict.fromkeys(DEVICE_LIMITS))


class Tasks(Protocol):
    """What an update needs of containerd."""

    async def update(self, id: str, resources: bytes) -> None:
        """Change a task's limits: an OCI `LinuxResources` in JSON. NotFound: there is no task."""


class Devices(Protocol):
    """What an update needs for limits of devices."""

    def hold(self, container: Container, host: HostConfig) -> None:
        """Make the kernel's limits of devices those of `host`. Blocks."""


class UpdateJournal(Protocol):
    """What an update needs of the journal."""

    async def change_status(self, container: Container, *events: Event, **changes: Any) -> None:
        """Replace some fields of the status, on disk and then in memory."""

    async def set_definition(
        self, container: Container, definition: Definition, *events: Event, **changes: Any
    ) -> None:
        """Replace the definition and some fields of the status, on disk and then in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Updater:
    """Changes containers that are there already."""

    tasks: Tasks
    devices: Devices
    journal: UpdateJournal
    facts: HostFacts

    async def update(self, container: Container, wanted: HostConfig) -> list[str]:
        """Set the limits and the policy that `wanted` has; what it leaves at its zero stays.

        The warnings are for people. Source: Engine API, ContainerUpdate; moby, daemon/update.go.

        Raises:
            InvalidParameter: no container can have such limits; the text is dockerd's.
            Conflict: this one cannot, for what it has already, or it is being removed.
            EngineError: the kernel refused; nothing was changed.
        """
        spec.check_restart_policy(wanted.restart_policy)
        wanted, warnings = spec.check_resources(wanted, self.facts, update=True)
        async with container.turn("its update"):
            if container.state in (State.REMOVING, State.DEAD):
                raise _refused(container, 'container is marked for removal and cannot be "update"')
            if conflict := conflict_with(container.definition.host_config, wanted):
                raise _refused(container, conflict)
            host = merged(container.definition.host_config, wanted)
            if has_limits(wanted):
                # Together they must be possible too, or the container could not start any more.
                spec.check_resources(host, self.facts)
            if has_device_limits(wanted):  # a device that is missing is found before any change
                await trio.to_thread.run_sync(spec.read_block_numbers, wanted)
            # Once the kernel knows, the record must follow: whoever asked for it may have left.
            with trio.CancelScope(shield=True):
                if has_limits(wanted) and container.state.has_task:
                    await self._change_limits(container, host)
                else:
                    await self._record(container, host)
        return warnings

    async def _change_limits(self, container: Container, host: HostConfig) -> None:
        """In the kernel and in the record; a change that is refused is taken back in both."""
        await self.journal.change_status(container, updating=host)
        is_refused = True
        try:
            await self._tell_kernel(container, host)
            is_refused = False
            await self._record(container, host)
        except EngineError as error:
            is_in_doubt = isinstance(error, (Unavailable, DeadlineExceeded))
            with suppress(EngineError):
                if is_refused and not is_in_doubt:  # the runtime has put back what it had set
                    await self.journal.change_status(container, updating=None)
                else:
                    await self._take_back(container)
            raise

    async def _take_back(self, container: Container) -> None:
        """The kernel may have been told: it is told what it was before, or will be.

        Should containerd not answer, what is written down is done when it does, by `finish`.
        """
        before = container.definition.host_config
        await self.journal.change_status(container, updating=before)
        await self._tell_kernel(container, before)
        await self.journal.change_status(container, updating=None)

    async def finish(self, container: Container) -> None:
        """Carry an update to its end that an earlier daemon had begun. The caller has the turn.

        Raises:
            EngineError: containerd does not answer, or the disk refuses; it is still to be done.
        """
        host = container.status.updating
        if host is None:
            return
        try:
            if container.state.has_task:
                await self._tell_kernel(container, host)
        except (Unavailable, DeadlineExceeded):
            raise
        except EngineError as error:  # it was never possible: nobody was told that it was
            log.warning("update given up", container=container.id, error=str(error))
            await self.journal.change_status(container, updating=None)
            return
        if host == container.definition.host_config:  # one that was taken back: nobody is told
            await self.journal.change_status(container, updating=None)
            return
        await self._record(container, host)

    async def _record(self, container: Container, host: HostConfig) -> None:
        definition = msgspec.structs.replace(container.definition, host_config=host)
        event = container_event(container, "update")
        await self.journal.set_definition(container, definition, event, updating=None)

    async def _tell_kernel(self, container: Container, host: HostConfig) -> None:
        """All limits and not only the new ones: the runtime forgets those that it is not told."""
        resources = spec.container_resources(msgspec.structs.replace(host, **_NO_DEVICES))
        try:
            await self.tasks.update(container.id, msgspec.json.encode(resources))
            if has_device_limits(host) or has_device_limits(container.definition.host_config):
                await trio.to_thread.run_sync(self.devices.hold, container, host)
        except (NotFound, FileNotFoundError):
            pass  # it has ended just now; its next start has the limits
        except (EngineError, OSError) as error:
            kind = type(error) if isinstance(error, EngineError) else EngineError
            raise kind(f"Cannot update container {container.id}: {error}") from error


def has_device_limits(host: HostConfig) -> bool:
    """Whether there is a limit for any device."""
    return any(getattr(host, name) for name in DEVICE_LIMITS)


def has_limits(wanted: HostConfig) -> bool:
    """Whether a request changes a limit at all."""
    return bool(_changes(wanted))


def merged(present: HostConfig, wanted: HostConfig) -> HostConfig:
    """`present` with what `wanted` sets."""
    changes = _changes(wanted)
    if "cpu_shares" in changes:
        changes["cpu_shares"] = spec.kernel_cpu_shares(wanted.cpu_shares)
    if "pids_limit" in changes:
        changes["pids_limit"] = max(wanted.pids_limit or 0, 0)  # 0 is none
    if wanted.restart_policy.name:
        changes["restart_policy"] = wanted.restart_policy
    return msgspec.structs.replace(present, **changes)


def conflict_with(present: HostConfig, wanted: HostConfig) -> str | None:
    """Why a container that is `present` cannot become `wanted`, in dockerd's words.

    Source: moby, container/container_unix.go, UpdateContainer.
    """
    option = "Conflicting options: {} cannot be updated as {} has already been set"
    clashes = (
        (wanted.nano_cpus > 0 and present.cpu_period > 0, "Nano CPUs", "CPU Period"),
        (wanted.nano_cpus > 0 and present.cpu_quota > 0, "Nano CPUs", "CPU Quota"),
        (wanted.cpu_period > 0 and present.nano_cpus > 0, "CPU Period", "NanoCPUs"),
        (wanted.cpu_quota > 0 and present.nano_cpus > 0, "CPU Quota", "NanoCPUs"),
    )
    for clash, new, old in clashes:
        if clash:
            return option.format(new, old)
    if wanted.memory and wanted.memory > present.memory_swap and not wanted.memory_swap:
        return (
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    if wanted.restart_policy.name not in ("", "no") and present.auto_remove:
        return "Restart policy cannot be updated because AutoRemove is enabled for the container"
    return None


def _changes(wanted: HostConfig) -> dict[str, Any]:
    defaults = HostConfig()
    values = {name: getattr(wanted, name) for name in LIMITS}
    return {name: value for name, value in values.items() if value != getattr(defaults, name)}


def _refused(container: Container, why: str) -> Conflict:
    return Conflict(f"Cannot update container {container.id}: {why}")
