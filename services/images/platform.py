"""Which of an index's manifests suits this machine.

Source: containerd's platforms package: names are Go's, and a machine also runs its elders' images.
"""

from __future__ import annotations

import platform as machine
import re
from dataclasses import dataclass
from typing import Final

from services.errors import InvalidParameter

from .oci import OciPlatform

_GO_NAMES: Final = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "i386": ("386", ""), "i686": ("386", ""), "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""), "riscv64": ("riscv64", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_SYSTEMS: Final = frozenset({"linux", "windows", "darwin", "freebsd"})
_OTHER_ARCHITECTURES: Final = frozenset({"mips", "mipsle", "mips64", "mips64le", "ppc64", "wasm"})

# What else a machine runs, best first, after its own.
_ALSO_RUNS: Final = {
    "amd64": (("386", ""),),
    "arm64": (("arm", "v8"), ("arm", "v7"), ("arm", "v6"), ("arm", "v5")),
    "arm": (("arm", "v7"), ("arm", "v6"), ("arm", "v5")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform in its normal form: `variant` is "" where it is the usual one."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(os: str, architecture: str, variant: str | None = None) -> Platform:
    """The normal form: "x86_64" is "amd64", arm64's v8 goes without saying, a bare arm is v7."""
    arch, known = _GO_NAMES.get(architecture.lower(), (architecture.lower(), ""))
    variant = (variant or known).lower()
    if arch == "arm":
        variant = variant or "v7"
    if (arch, variant) in (("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")):
        variant = ""
    return Platform(os=os.lower(), architecture=arch, variant=variant)


def from_oci(platform: OciPlatform) -> Platform:
    """The normal form of what a document says."""
    return normalise(platform.os, platform.architecture, platform.variant)


def host_platform() -> Platform:
    """This machine's."""
    return normalise("linux", machine.machine())


def parse_specifier(text: str, host: Platform) -> Platform:
    """What OS[/ARCHITECTURE[/VARIANT]] or ARCHITECTURE alone means on `host`.

    Raises:
        InvalidParameter: it is none; containerd's words.
    """
    parts = text.split("/")
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise InvalidParameter(
                f'"{part}" is an invalid component of "{text}": platform specifier component must '
                f'match "^[A-Za-z0-9_-]+$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) > 1:
        return normalise(*parts)
    if text.lower() in _SYSTEMS:
        return Platform(os=text.lower(), architecture=host.architecture, variant=host.variant)
    alone = normalise("linux", text)
    if alone.architecture not in {name for name, _ in _GO_NAMES.values()} | _OTHER_ARCHITECTURES:
        raise InvalidParameter(
            f'"{text}": unknown operating system or architecture: invalid argument'
        )
    return alone


def rank(candidate: Platform, host: Platform) -> int | None:
    """How well `host` runs `candidate`: 0 is best, None is not at all."""
    if candidate.os != host.os:
        return None
    if candidate == host:
        return 0
    also = _ALSO_RUNS.get(host.architecture, ())
    runs = [Platform(os=host.os, architecture=arch, variant=variant) for arch, variant in also]
    if host in runs:  # an arm v6 does not run v7
        runs = runs[runs.index(host) + 1 :]
    if candidate in runs:
        return 1 + runs.index(candidate)
    # amd64/v2 on a plain amd64: nobody knows whether it runs; the last choice.
    return 100 if candidate.architecture == host.architecture == "amd64" else None
