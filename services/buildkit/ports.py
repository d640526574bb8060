"""What the protocol needs of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from services.build import Builder
from services.build.ports import ImageStore
from services.registry.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedStep:
    """A step that is kept, or another thing that builds have left, and what it takes."""

    key: str
    kind: str
    description: str
    size_bytes: int
    created_at_ns: int
    used_at_ns: int
    is_in_use: bool
    is_shared: bool


class Usage(Protocol):
    """Lists what builds have kept."""

    async def __call__(self) -> Sequence[UsedStep]:
        """All of it."""


class Prune(Protocol):
    """Deletes what builds have kept and nothing uses."""

    async def __call__(
        self, keys: Sequence[str] | None, keeps_ns: int, keeps_bytes: int
    ) -> Sequence[str]:
        """The keys of what is gone: of `keys` (None: of all) what was not used for so long, until
        no more than so many bytes are left (0: all of it)."""


class HostGateway(Protocol):
    """Where containers find the host."""

    def __call__(self) -> str:
        """Its address; "" if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSources:
    """The parts of the engine."""

    builder: Builder
    images: ImageStore
    registry: Registry
    disk: trio.CapacityLimiter
    usage: Usage
    prune: Prune
    gateway_ip: HostGateway
    version: str
