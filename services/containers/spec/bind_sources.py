"""The host's side of binds: do the sources exist, and may they pass mounts on. Blocks.

Source: moby, daemon/oci_linux.go, ensureShared and ensureSharedOrSlave.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from services.containers.spec.mount_checks import mount_error
from services.containers.spec.values import MountPoint
from services.errors import InvalidParameter

_SHARED: Final = frozenset(("shared", "rshared"))
_SLAVE: Final = frozenset(("slave", "rslave"))


def check_bind_sources(points: Iterable[MountPoint]) -> None:
    """Every bind by --mount must have a source already; -v makes it. Blocks.

    Raises:
        InvalidParameter: a source that is missing.
    """
    for point in points:
        if point.type == "bind" and not point.create_source and not Path(point.source).exists():
            raise mount_error("bind", f"bind source path does not exist: {point.source}")


def make_bind_sources(points: Iterable[MountPoint]) -> None:
    """Make the directories that -v asks for and that are missing, as root's, mode 755. Blocks.

    Raises:
        InvalidParameter: a directory cannot be made there.
    """
    for point in points:
        if point.type == "bind" and point.create_source and not Path(point.source).exists():
            try:
                Path(point.source).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise InvalidParameter(
                    f"error while creating mount source path '{point.source}': "
                    f"mkdir {point.source}: {reason}"
                ) from error


def read_mountinfo() -> str:
    """The mounts that this process sees. Blocks."""
    return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")


def check_propagation(
    points: Iterable[MountPoint], mountinfo: Callable[[], str] = read_mountinfo
) -> None:
    """Refuse a shared or slave bind whose source could not pass mounts on. Blocks.

    Only what the user asked for is checked: the engine's own choice does no harm without effect.

    Raises:
        InvalidParameter: the mount that holds a source is of another kind.
    """
    wanted = [
        point
        for point in points
        if point.type == "bind" and point.propagation in _SHARED | _SLAVE and _is_explicit(point)
    ]
    seen = mountinfo() if wanted else ""
    for point in wanted:
        asked = point.propagation
        place, options = _mount_of(os.path.realpath(point.source), seen)
        shared = any(option.startswith("shared:") for option in options)
        slave = any(option.startswith("master:") for option in options)
        if asked in _SHARED and not shared:
            raise InvalidParameter(
                f"path {point.source} is mounted on {place} but it is not a shared mount"
            )
        if asked in _SLAVE and not (shared or slave):
            raise InvalidParameter(
                f"path {point.source} is mounted on {place} but it is not a shared or slave mount"
            )


def _is_explicit(point: MountPoint) -> bool:
    if point.spec is not None:
        options = point.spec.bind_options
        return options is not None and bool(options.propagation)
    return point.propagation in point.mode.split(",")


def _mount_of(path: str, mountinfo: str) -> tuple[str, list[str]]:
    """The mount point nearest above `path`, and its optional fields. The last one wins."""
    best: str = ""
    found: list[str] = []
    for line in mountinfo.splitlines():
        fields = line.partition(" - ")[0].split()
        if len(fields) < 6:
            continue
        place = fields[4].replace("\\040", " ")
        is_above = path == place or path.startswith(place.rstrip("/") + "/")
        if is_above and len(place) >= len(best):
            best, found = place, fields[6:]
    return best, found
