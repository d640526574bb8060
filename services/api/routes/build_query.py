"""The parameters of POST /build as the builder takes them. Source: Engine API, ImageBuild."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from services import typed_json
from services.api.types.platforms import parse_platform
from services.api.wire.query import Query
from services.build.request import BuildRequest
from services.containers.config import HostConfig, LogConfig, Ulimit
from services.errors import InvalidParameter, NotSupported
from services.images import Reference, parse_reference

T = TypeVar("T")

BUILDKIT: Final = "2"


def build_request(query: Query) -> BuildRequest:
    """What is asked for.

    Raises:
        InvalidParameter: a parameter that is malformed.
        NotSupported: what only BuildKit can do.
    """
    if query.text("session") and query.text("version") != BUILDKIT:
        raise NotSupported("a session is for BuildKit (version=2); the classic builder has none")
    for name in ("squash", "outputs"):
        if query.text(name) and query.boolean(name):
            raise NotSupported(f"{name} is not supported by this builder")
    if query.text("securityopt"):
        raise InvalidParameter(
            "The daemon on this platform does not support setting security options on build"
        )
    isolation = query.text("isolation")
    if isolation.lower() not in ("", "default"):
        raise InvalidParameter(f'unsupported isolation: "{isolation}"')
    platform = query.text("platform")
    return BuildRequest(
        dockerfile=query.text("dockerfile") or "Dockerfile",
        remote=query.text("remote"),
        references=_references(query),
        target=query.text("target"),
        build_args=_json(query, "buildargs", dict[str, str | None]) or {},
        labels=_json(query, "labels", dict[str, str]) or {},
        host=_host(query),
        platform=parse_platform(_platform_json(platform)) if platform else None,
        uses_cache=not query.boolean("nocache"),
        cache_from=tuple(filter(None, _json(query, "cachefrom", list[str]) or ())),
        pulls=query.boolean("pull"),
        removes=query.boolean("rm", default=True),
        always_removes=query.boolean("forcerm"),
        is_quiet=query.boolean("q"),
    )


def _references(query: Query) -> tuple[Reference, ...]:
    found: dict[Reference, None] = {}
    for text in query.values("t"):
        if not text:
            continue
        reference = parse_reference(text)
        if reference.digest is not None:
            raise InvalidParameter("build tag cannot contain a digest")
        reference.check_unambiguous()
        found[reference.tagged()] = None
    return tuple(found)


def _host(query: Query) -> HostConfig:
    """The limits and the network of the containers that RUN makes."""
    memory = query.integer("memory", 0)
    return HostConfig(
        memory=memory,
        memory_swap=query.integer("memswap", 0),
        cpu_shares=query.integer("cpushares", 0),
        cpu_period=query.integer("cpuperiod", 0),
        cpu_quota=query.integer("cpuquota", 0),
        cpuset_cpus=query.text("cpusetcpus"),
        cpuset_mems=query.text("cpusetmems"),
        shm_size=query.integer("shmsize", 0),
        cgroup_parent=query.text("cgroupparent"),
        network_mode=query.text("networkmode"),
        extra_hosts=list(query.values("extrahosts")) or None,
        ulimits=_json(query, "ulimits", list[Ulimit]),
        log_config=LogConfig(type="none"),
    )


def _platform_json(text: str) -> str:
    """`linux/amd64` as the JSON that other parameters of this kind are."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidParameter(f"{text!r} is an invalid component of a platform")
    names = ("os", "architecture", "variant")
    said: Mapping[str, str] = dict(zip(names, parts, strict=False))
    return msgspec.json.encode(said).decode()


def _json(query: Query, name: str, type_: type[T]) -> T | None:
    text = query.text(name)
    if not text:
        return None
    try:
        return typed_json.decode(text, type_ | None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"error reading {name}: {error}") from error
