"""What the configuration says about the daemon itself: its log, its containerd, its own addresses.

Source: moby, daemon/config (the sentences).
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final, Literal, cast

from services.api.listening.hosts import TcpHost
from supervisor.configuration.merged import Merged
from supervisor.configuration.settings import ContainerdSettings, LogSettings
from supervisor.configuration.values import quoted

LOG_LEVELS: Final = ("panic", "fatal", "error", "warn", "info", "debug", "trace")


def metrics_address(values: Merged) -> str:
    """host:port, or empty. Raises ValueError for an address that is none."""
    text = values.text("metrics-addr")
    if text:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"invalid metrics address {quoted(text)}: must be host:port")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"invalid metrics address {quoted(text)}: too many colons in address")
    return text


def observer_host(values: Merged) -> TcpHost | None:
    """Ours. There is no password, so only this machine may reach it.

    Raises:
        ValueError: the address is none, or not of this machine alone.
    """
    text = values.text("observer-addr")
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"invalid observer address {quoted(text)}: must be host:port")
    name = host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(
            f"invalid observer address {quoted(text)}: must be a loopback address; "
            "to reach it from elsewhere forward a port with ssh -L"
        )
    return TcpHost(host=name, port=int(port))


def log_settings(values: Merged) -> LogSettings:
    """The section. Raises ValueError for a level or a format that is none."""
    level, form = values.text("log-level").lower(), values.text("log-format")
    if level not in LOG_LEVELS:
        raise ValueError(f"invalid logging level: {values.text('log-level')}")
    if form not in ("text", "json"):
        raise ValueError(f"invalid log format: {form}")
    return LogSettings(
        level=level,
        debug=values.switch("debug"),
        format=cast("Literal['text', 'json']", form),
        raw=values.switch("raw-logs"),
    )


def containerd_settings(values: Merged) -> ContainerdSettings:
    """The section. Raises ValueError for an empty namespace."""
    address = values.text("containerd").removeprefix("unix://")
    namespace = values.text("containerd-namespace")
    if not namespace:
        raise ValueError("--containerd-namespace: an empty name is not allowed")
    return ContainerdSettings(
        address=Path(address).absolute() if address else None, namespace=namespace
    )
