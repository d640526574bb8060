"""A process's environment: the engine's own variables, links, and what config and image ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def override_env(defaults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """`defaults` with `overrides` put in their places and the rest appended.

    An override without "=" removes the variable. Order is kept. Source: moby, container/env.go.
    """
    result: list[str | None] = list(defaults)
    places = {entry.partition("=")[0]: at for at, entry in enumerate(defaults)}
    for entry in overrides:
        name, separator, _ = entry.partition("=")
        at = places.get(name)
        if at is None:
            if separator:
                result.append(entry)
        else:
            result[at] = entry if separator else None
    return [entry for entry in result if entry is not None]


def container_env(
    *, hostname: str, tty: bool, links: Sequence[str], config: Sequence[str]
) -> list[str]:
    """The environment of a container's first process.

    HOME is not in it: the runtime looks it up in the container's own /etc/passwd.
    """
    own = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={hostname}"]
    if tty:
        own.append("TERM=xterm")
    return override_env([*own, *links], config)
