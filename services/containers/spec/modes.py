"""The little languages of HostConfig's mode fields: "host", "container:<id>", ...

Source: moby, api/types/container/hostconfig.go.
"""

from __future__ import annotations

from typing import Final

_CONTAINER: Final = "container:"


def shared_container(mode: str) -> str | None:
    """The id or name in "container:<id>"; None for another mode, "" when nothing follows."""
    return mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else None


def is_valid_ipc(mode: str) -> bool:
    """Empty, none, private, host, shareable or container:<id>."""
    return mode in ("", "none", "private", "host", "shareable") or bool(shared_container(mode))


def is_valid_pid(mode: str) -> bool:
    """Empty, host or container:<id>."""
    return mode in ("", "host") or bool(shared_container(mode))


def is_valid_uts(mode: str) -> bool:
    """Empty or host."""
    return mode in ("", "host")


def is_valid_cgroupns(mode: str) -> bool:
    """Empty, private or host."""
    return mode in ("", "private", "host")


def has_private_pids(mode: str) -> bool:
    """Whether the container gets a PID namespace of its own."""
    return mode != "host" and shared_container(mode) is None


def has_private_network(mode: str) -> bool:
    """Whether the container gets a network namespace of its own, with or without links in it."""
    return mode != "host" and shared_container(mode) is None
