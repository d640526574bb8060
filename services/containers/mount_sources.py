"""The host's side of a container's volumes while it runs: mounted, parts of them found safely."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import trio

from services.containers.container import Container
from services.containers.spec import MountPoint
from services.containers.volume_points import volume_names
from services.errors import EngineError
from services.events import Event
from services.system.roots import open_in_root


class VolumeUse(Protocol):
    """What running containers need of the volumes."""

    async def acquire(self, container_id: str, names: Iterable[str]) -> None:
        """Mount what must be mounted."""

    async def release(self, container_id: str) -> None:
        """The container runs no more."""

    def adopt(self, container_id: str, names: Iterable[str]) -> None:
        """It was found running."""


class MountSources:
    """What the mounts of running containers stand on."""

    def __init__(self, *, volumes: VolumeUse, disk: trio.CapacityLimiter) -> None:
        self._volumes = volumes
        self._disk = disk

    async def acquire(self, container: Container) -> None:
        """Its volumes can be used until `release`. Raises as `Volumes.acquire`."""
        if names := volume_names(container.definition):
            await self._volumes.acquire(container.id, names)

    async def release(self, container: Container) -> None:
        """It runs no more; it may never have."""
        await self._volumes.release(container.id)

    def adopt(self, container: Container) -> None:
        """It was found running."""
        self._volumes.adopt(container.id, volume_names(container.definition))

    @asynccontextmanager
    async def opened(self, container: Container) -> AsyncIterator[Sequence[MountPoint]]:
        """Its mounts with sources that the runtime can take, as long as the block lasts.

        A part of a volume is opened here, every link taken as inside the volume, and handed on as
        the open directory: what somebody puts in its place later cannot lead elsewhere.

        Raises:
            EngineError: there is no such part.
        """
        points = container.definition.mounts
        if not any(point.subpath for point in points if point.type == "volume"):
            yield points
            return
        with ExitStack() as stack:
            resolve = partial(_resolve, points, stack)
            yield await trio.to_thread.run_sync(resolve, limiter=self._disk)


def volume_events(container: Container, action: str, *, time_ns: int | None = None) -> list[Event]:
    """dockerd's events about the volumes that a container mounts or unmounts."""
    at_ns = time.time_ns() if time_ns is None else time_ns
    return [
        Event(
            type="volume",
            action=action,
            actor_id=point.name,
            attributes=_attributes(container, point, action),
            time_ns=at_ns,
        )
        for point in container.definition.mounts
        if point.type == "volume"
    ]


def _attributes(container: Container, point: MountPoint, action: str) -> dict[str, str]:
    attributes = {"container": container.id, "driver": point.driver}
    if action == "mount":
        attributes |= {
            "destination": point.destination,
            "propagation": point.propagation,
            "read/write": str(point.rw).lower(),
        }
    return attributes


def _resolve(points: Iterable[MountPoint], stack: ExitStack) -> list[MountPoint]:
    return [
        replace(point, source=_part(point, stack))
        if point.type == "volume" and point.subpath
        else point
        for point in points
    ]


def _part(point: MountPoint, stack: ExitStack) -> str:
    try:
        volume = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, volume)
        part = open_in_root(volume, point.subpath)
    except OSError as error:
        raise EngineError(
            f"cannot access path {point.subpath} of volume {point.name}: "
            f"{(error.strerror or '').lower()}"
        ) from error
    stack.callback(os.close, part)
    return f"/proc/{os.getpid()}/fd/{part}"
