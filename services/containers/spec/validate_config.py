"""What an image or a container's portable part may say. Source: moby, daemon/container.go."""

from __future__ import annotations

from typing import Final

import msgspec

from services.containers.config import ContainerConfig, HealthConfig
from services.containers.spec.mounts import clean_path
from services.containers.spec.signals import parse_signal
from services.errors import InvalidParameter

_MIN_DURATION_NS: Final = 1_000_000


def check_config(config: ContainerConfig) -> None:
    """The part that goes along with an image: also checked at commit. Raises InvalidParameter."""
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an "
            "absolute path"
        )
    if config.stop_signal is not msgspec.UNSET and config.stop_signal:
        parse_signal(config.stop_signal)
    for entry in config.env or ():
        if not entry.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {entry}")
    if config.healthcheck is not msgspec.UNSET and config.healthcheck is not None:
        _check_health(config.healthcheck)


def normalized_working_dir(working_dir: str) -> str:
    """As dockerd keeps it: cleaned, without a slash at the end. One that is no path is left."""
    return clean_path(working_dir) if working_dir.startswith("/") else working_dir


def _check_health(health: HealthConfig) -> None:
    spans = (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    )
    for name, span_ns in spans:
        if span_ns and span_ns < _MIN_DURATION_NS:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
