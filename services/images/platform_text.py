"""Platforms as people write them: "linux/arm64", "linux/arm/v7", "arm64", "linux".

Source: containerd's platforms package, Parse.
"""

from __future__ import annotations

import re
from typing import Final

from services.errors import InvalidParameter

from .platform import Platform, host_platform, normalise

_PART: Final = re.compile(r"[A-Za-z0-9_.-]+\Z", re.ASCII)
_SYSTEMS: Final = frozenset(
    {
        "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js",
        "linux", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
    }
)  # fmt: skip
_ARCHITECTURES: Final = frozenset(
    {
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm",
    }
)  # fmt: skip
_LONGEST: Final = 200


def parse_platform(text: str) -> Platform:
    """The normal form of what `text` says; what it leaves out is this machine's.

    Raises:
        InvalidParameter: it is none.
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or len(text) > _LONGEST:
        raise InvalidParameter(f'"{text[:_LONGEST]}": cannot parse platform specifier')
    for part in parts:
        if not _PART.match(part):
            raise InvalidParameter(
                f'"{part}" is an invalid component of "{text}": platform specifier component '
                f'must match "^[A-Za-z0-9_.-]+$"'
            )
    if len(parts) > 1:
        return normalise(parts[0], parts[1], parts[2] if len(parts) == 3 else None)
    host = host_platform()
    if parts[0].lower() in _SYSTEMS:
        return normalise(parts[0], host.architecture, host.variant)
    alone = normalise("linux", parts[0])
    if alone.architecture in _ARCHITECTURES:
        return alone
    raise InvalidParameter(f'"{text}": unknown operating system or architecture')
