"""The values that describe a container: what was asked, and what has become of it.

Fixed definition and changing status are two structs, stored side by side: a status change writes
a few hundred bytes, never the whole definition.
"""

from __future__ import annotations

import enum
from typing import Any, NewType

import msgspec

from services.containers.config import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
)
from services.containers.spec import MountPoint
from services.networks import PublishedPort

ContainerId = NewType("ContainerId", str)
"""64 hexadecimal digits."""

SHORT_ID = 12
"""How many digits of an id Docker shows to people, and takes for a default host name."""


class State(enum.StrEnum):
    """Docker's container states; the value is the Engine API's `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    """Exited, and its restart policy will start it again after a delay."""
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"
    """Removal failed half-way; another remove may finish it."""

    @property
    def has_task(self) -> bool:
        """Whether containerd holds a live task for a container in this state."""
        return self in (State.RUNNING, State.PAUSED)


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run is in a network: by a link of the network's driver. `interface` is its name inside,
    "" where there is none; `is_routed`: it leads everywhere without a gateway."""

    driver: str = "bridge"
    interface: str = ""
    is_routed: bool = False


class LooseEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a network that is not the container's now."""

    network: str
    settings: EndpointSettings
    place: Place


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has become of a container. Instants are nanoseconds since the epoch, 0 is never."""

    state: State = State.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at_ns: int = 0
    finished_at_ns: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    """A stop or kill was asked for since the last start: no restart policy acts on that exit."""
    stopped_for: str = ""
    """The id of a member of its group for whose failure it was stopped, or is about to be: it is
    started again after that one, also by another daemon."""
    failed_health: bool = False
    """It is or was ended because it was unhealthy: the exit of this run counts as a failure."""
    boot_id: str = ""
    """The kernel's, when the run began: after another boot nothing of the run is left."""
    removes_volumes: bool = False
    """Its removal, once begun, takes its anonymous volumes along."""
    runs: int = 0
    """How often a task was started; the log and the fault reports tell runs apart by it."""
    oom_told_run: int = 0
    """The last run, by its number in `runs`, of which an event told that the kernel killed
    something of it: its end, which another daemon may see, does not tell it again."""
    networks: dict[str, EndpointSettings] = {}
    """Addresses and gateways of the present run, by network name."""
    places: dict[str, Place] = {}
    """What `networks` does not tell of the present run's networks, by name."""
    network_ids: dict[str, str] = {}
    """The ids of the networks that the last run was in, by name: dockerd goes on to show them."""
    loose: dict[str, LooseEndpoint] = {}
    """Endpoints that the present run is about to get, or has just lost, by their id: their links
    may be there. Written before anything is done, so that the next daemon takes them away."""
    ports: list[PublishedPort] = []
    """The host's ports that lead to the present run. Known before its task is made."""
    updating: HostConfig | None = None
    """What an update that is under way makes of the host config; the kernel may know of it."""

    is_held: bool = False
    """The engine has it frozen for a moment, or is about to: the next one lets it go."""

    def failure_code(self, exit_code: int) -> int:
        """What an exit of this run counts as for the restart policy: 0 is a success."""
        return exit_code or int(self.failed_health)


class ImageDescriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The manifest that the container was made from (OCI descriptor)."""

    media_type: str
    digest: str
    size: int
    platform: dict[str, Any] | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A legacy link to another container, by its id."""

    child: str
    alias: str


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a container is.

    After the create only `name`, `host_config`, `networks` and `links` may change, and the names
    of the host in `config`, which come with the network of another container.
    """

    id: ContainerId
    name: str  # without Docker's leading slash
    created_at_ns: int
    config: ContainerConfig  # the client's, merged with the image's
    host_config: HostConfig  # with the defaults of the day of its creation filled in
    path: str
    args: list[str]
    image_id: str
    image_manifest: ImageDescriptor | None = None
    os: str = "linux"
    snapshotter: str = "overlayfs"
    runtime: str
    mounts: list[MountPoint] = []
    networks: dict[str, EndpointSettings] = {}  # what was asked, by network name
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    links: list[Link] = []


class ExitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a container ended."""

    code: int  # 0-255; 128 + N when signal N ended the process
    exited_at_ns: int  # as containerd reported it, not when we heard
    oom_killed: bool = False
    error: str = ""
