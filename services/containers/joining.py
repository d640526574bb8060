"""What a container has of others: the namespaces that it joins, and the files that come with them.

Another container is named in a mode ("container:<id>"). The name that a client gives is turned to
the id at the create, so that a rename changes nothing; one that names nobody stays as it is, and is
refused at the start. Source: moby, daemon/container_operations_unix.go, getIPCContainer,
getPIDContainer; daemon/container_operations.go, getNetworkedContainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from services.containers.config import HostConfig
from services.containers.container import Container
from services.containers.spec import NamespacePaths
from services.containers.spec.modes import shared_container
from services.errors import Conflict, EngineError, InvalidParameter, NotFound

HOST_SHM: Final = "/dev/shm"  # noqa: S108 - the host's own, for --ipc host
_MODES: Final = ("network_mode", "ipc_mode", "pid_mode")


class Directory(Protocol):
    """Finds containers."""

    def find(self, ref: str) -> Container:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""

    def __iter__(self) -> Iterator[Container]:
        """All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What a container that is about to start gets of others.

    `network` is whose network it joins, None for one of its own; `files_of` the id of the container
    that has the hosts, hostname and resolv.conf of that network. `shm_path` is what becomes its
    /dev/shm, "" leaves that to the runtime.
    """

    network: Container | None = None
    files_of: str = ""
    namespaces: NamespacePaths = field(default_factory=NamespacePaths)
    shm_path: str = ""


def by_id(host: HostConfig, containers: Directory) -> HostConfig:
    """`host` with the ids of the containers that its modes name."""
    changes: dict[str, str] = {}
    for mode in _MODES:
        ref = shared_container(getattr(host, mode))
        if ref:
            try:
                changes[mode] = f"container:{containers.find(ref).id}"
            except (NotFound, InvalidParameter):
                continue  # the start says so
    return msgspec.structs.replace(host, **changes) if changes else host


def joined_ids(host: HostConfig) -> frozenset[str]:
    """The ids of the containers that one with these settings joins."""
    refs = (shared_container(getattr(host, field)) for field in _MODES)
    return frozenset(ref for ref in refs if ref)


def needed_ids(container: Container) -> frozenset[str]:
    """The ids of the containers that must run before this one can start."""
    definition = container.definition
    return joined_ids(definition.host_config) | {link.child for link in definition.links}


def is_joined(container_id: str, containers: Iterable[Container]) -> bool:
    """Whether some container was made to be in this one's network."""
    mode = f"container:{container_id}"
    return any(other.definition.host_config.network_mode == mode for other in containers)


def network_owner(container: Container, containers: Directory) -> str:
    """The id of the container whose hosts, hostname and resolv.conf this one has; often its own."""
    owner, seen = container, {container.id}
    while ref := shared_container(owner.definition.host_config.network_mode):
        if owner.status.runs == 0:
            break
        try:
            owner = containers.find(ref)
        except (NotFound, InvalidParameter):
            return ref
        if owner.id in seen:
            break
        seen.add(owner.id)
    return owner.id


class Joiner:
    """Finds what a container joins, at its start.

    `own_shm` is the /dev/shm that a container shares by itself while it runs, "" for none.
    """

    def __init__(self, containers: Directory, own_shm: Callable[[str], str]) -> None:
        self._containers = containers
        self._own_shm = own_shm

    def join(self, container: Container) -> Joined:
        """What the container joins.

        Raises:
            Conflict: the other one does not run.
            InvalidParameter: there is none, or it keeps its IPC namespace to itself.
            EngineError: as these, for the network.
        """
        host = container.definition.host_config
        network = self._network_of(container, shared_container(host.network_mode))
        ipc = self._ipc_of(shared_container(host.ipc_mode))
        pid = self._pid_of(shared_container(host.pid_mode))
        return Joined(
            network=network,
            files_of=network_owner(network, self._containers) if network is not None else "",
            namespaces=NamespacePaths(
                network=_path_of(network, "net"), ipc=_path_of(ipc, "ipc"), pid=_path_of(pid, "pid")
            ),
            shm_path=self._shm_of(container, frozenset()),
        )

    def _network_of(self, container: Container, ref: str | None) -> Container | None:
        if ref is None:
            return None
        try:
            other = self._containers.find(ref)
        except (NotFound, InvalidParameter) as error:
            raise EngineError(f"joining network namespace of container: {error}") from error
        if other is container:
            raise EngineError("cannot join own network namespace")
        if not other.is_running:
            raise Conflict(
                "cannot join network namespace of a non running container: "
                f"container {other.name} is {other.state.value}"
            )
        try:
            other.refuse_restarting()
        except Conflict as error:
            raise Conflict(f"cannot join network namespace of container: {error}") from error
        return other

    def _ipc_of(self, ref: str | None) -> Container | None:
        if ref is None:
            return None
        try:
            other = self._running(ref)
            if not self._shm_of(other, frozenset()):
                raise InvalidParameter(
                    f"container {ref}: non-shareable IPC "
                    "(hint: use IpcMode:shareable for the donor container)"
                )
        except EngineError as error:
            raise type(error)(f"failed to join IPC namespace: {error}") from error
        return other

    def _pid_of(self, ref: str | None) -> Container | None:
        if ref is None:
            return None
        try:
            return self._running(ref)
        except EngineError as error:
            raise type(error)(f"failed to join PID namespace: {error}") from error

    def _running(self, ref: str) -> Container:
        try:
            other = self._containers.find(ref)
        except NotFound as error:
            raise InvalidParameter(str(error)) from error
        if not other.is_running:
            raise Conflict(f"container {ref} is not running")
        other.refuse_restarting()
        return other

    def _shm_of(self, container: Container, seen: frozenset[str]) -> str:
        """What is or will be bound to a container's /dev/shm; "" when that is nobody else's."""
        mode = container.definition.host_config.ipc_mode
        if mode == "host":
            return HOST_SHM
        if mode == "shareable":
            return self._own_shm(container.id)
        ref = shared_container(mode)
        if not ref or container.id in seen:
            return ""
        try:
            return self._shm_of(self._containers.find(ref), seen | {container.id})
        except (NotFound, InvalidParameter):
            return ""


def _path_of(container: Container | None, kind: str) -> str:
    return f"/proc/{container.status.pid}/ns/{kind}" if container is not None else ""
