"""What a container starts with when the client leaves something to the image. Pure.

Source: Docker documentation of each Dockerfile instruction; dockerd merges in the same way.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from services.containers import spec
from services.containers.config import ContainerConfig, HealthConfig
from services.images import RunConfig

T = TypeVar("T")


def merge_image_config(config: ContainerConfig, image: RunConfig | None) -> ContainerConfig:
    """`config` with the image's values where it says nothing; maps and environments are joined."""
    config = msgspec.structs.replace(
        config,
        volumes=config.volumes or None,
        working_dir=spec.normalized_working_dir(config.working_dir),
    )
    if image is None:
        return _without_reset(config)
    changes: dict[str, Any] = {
        "user": config.user or image.user or "",
        "env": _merged_env(image.env, config.env),
        "labels": {**(image.labels or {}), **config.labels},
        "working_dir": spec.normalized_working_dir(config.working_dir or image.working_dir or ""),
        **_merged_command(config, image),
    }
    if image.exposed_ports:
        own_ports = config.exposed_ports or {}
        changes["exposed_ports"] = {**{p: {} for p in image.exposed_ports}, **own_ports}
    volumes = {**{v: {} for v in image.volumes or ()}, **(config.volumes or {})}
    changes["volumes"] = volumes or None
    if image.stop_signal and not config.stop_signal:
        changes["stop_signal"] = image.stop_signal
    if image.shell and not config.shell:
        changes["shell"] = image.shell
    if image.healthcheck is not None:
        changes["healthcheck"] = _merged_health(config, _health(image))
    return _without_reset(msgspec.structs.replace(config, **changes))


def _without_reset(config: ContainerConfig) -> ContainerConfig:
    """Docker's `[""]` has done its work, which is to reset the image's entrypoint."""
    if config.entrypoint != [""]:
        return config
    return msgspec.structs.replace(config, entrypoint=None)


def command_of(config: ContainerConfig) -> list[str]:
    """Entrypoint and command as one."""
    return [*(config.entrypoint or []), *(config.cmd or [])]


def _merged_command(config: ContainerConfig, image: RunConfig) -> dict[str, Any]:
    """A given entrypoint drops the image's command: it was meant for the image's entrypoint."""
    if config.entrypoint:
        return {}
    changes: dict[str, Any] = {}
    if not config.cmd:
        changes["cmd"] = image.cmd
    if config.entrypoint is None:
        changes["entrypoint"] = image.entrypoint
    return changes


def _merged_env(image: list[str] | None, own: list[str] | None) -> list[str]:
    names = {entry.partition("=")[0] for entry in own or ()}
    inherited = [entry for entry in image or () if entry.partition("=")[0] not in names]
    return [*(own or ()), *inherited]


def _health(image: RunConfig) -> HealthConfig:
    assert image.healthcheck is not None
    health = image.healthcheck
    return HealthConfig(
        test=health.test,
        interval=health.interval_ns,
        timeout=health.timeout_ns,
        retries=health.retries,
        start_period=health.start_period_ns,
        start_interval=health.start_interval_ns,
    )


def _merged_health(config: ContainerConfig, image: HealthConfig) -> HealthConfig:
    own = config.healthcheck
    if not isinstance(own, HealthConfig):
        return image
    return HealthConfig(
        test=own.test or image.test,
        interval=own.interval or image.interval,
        timeout=own.timeout or image.timeout,
        retries=own.retries or image.retries,
        start_period=own.start_period or image.start_period,
        start_interval=own.start_interval or image.start_interval,
    )
