"""What a client asks of a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.containers.config import HostConfig
from services.images import Platform, Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The parameters of POST /build (Engine API, ImageBuild).

    `build_args` map to None where the client takes a variable away. `host` holds the limits, the
    network and what else the containers of RUN get. `remote` is where the context is, "" for the
    body. `cache_from` are images whose steps may be taken.
    """

    dockerfile: str = "Dockerfile"
    remote: str = ""
    references: tuple[Reference, ...] = ()
    target: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    host: HostConfig = field(default_factory=HostConfig)
    platform: Platform | None = None
    uses_cache: bool = True
    cache_from: tuple[str, ...] = ()
    pulls: bool = False
    removes: bool = True
    always_removes: bool = False
    is_quiet: bool = False
