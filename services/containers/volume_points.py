"""Which volumes a container has where: from -v, --mount, --volumes-from and the image. Pure.

Source: moby, daemon/volumes.go, registerMountPoints; daemon/create_unix.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from services.containers import spec
from services.containers.config import ContainerConfig, Mount
from services.containers.container import Container
from services.containers.model import Definition
from services.containers.spec import MountPoint
from services.errors import InvalidParameter, NotFound
from services.volumes import LOCAL_DRIVER, Volume, VolumeRequest


def points_from_others(
    texts: Iterable[str], find: Callable[[str], Container]
) -> dict[str, MountPoint]:
    """The mounts of other containers (`--volumes-from CONTAINER[:ro|rw|z|Z]`) by destination.

    Raises:
        InvalidParameter: there is no such container, or the part after the colon is no mode. Not
            NotFound, which clients take for a missing image and pull.
    """
    points: dict[str, MountPoint] = {}
    for text in texts:
        ref, _, mode = text.partition(":")
        if not ref:
            raise InvalidParameter(f"volumes-from specification cannot be an empty string: {text}")
        words = mode.split(",") if mode else []
        if not spec.is_valid_mode(mode) or "nocopy" in words:
            raise InvalidParameter(f"invalid mode: {mode}")
        try:
            other = find(ref)
        except NotFound as error:
            raise InvalidParameter(str(error)) from error
        for point in other.definition.mounts:
            writable = point.rw and "ro" not in words
            points[point.destination] = replace(point, rw=writable, mode="", copy_data=False)
    return points


def all_points(
    own: Iterable[MountPoint], inherited: Mapping[str, MountPoint], config: ContainerConfig,
    *, volume_driver: str, tmpfs: Collection[str],
) -> list[MountPoint]:  # fmt: skip
    """Every mount of a container, parents before children.

    Its own ones go before those of other containers at the same place. Paths that the image or the
    client declares as volumes, and where nothing else is, get anonymous ones.
    """
    points = {**inherited, **{point.destination: _with_mode(point) for point in own}}
    for path in config.volumes or ():
        destination = spec.clean_path(path)
        if destination not in points and destination not in tmpfs:
            points[destination] = MountPoint(
                type="volume", destination=destination, driver=volume_driver, copy_data=True
            )
    return sorted(points.values(), key=lambda point: point.destination.count("/"))


def request_of(point: MountPoint) -> VolumeRequest:
    """What a mount asks of the volumes."""
    options = point.spec.volume_options if isinstance(point.spec, Mount) else None
    driver = options.driver_config if options is not None else None
    return VolumeRequest(
        name=point.name,
        driver=point.driver,
        options=driver.options if driver is not None else {},
        labels=options.labels if options is not None else {},
    )


def with_volumes(
    points: Sequence[MountPoint], volumes: Iterable[Volume], place: Callable[[str], Path]
) -> list[MountPoint]:
    """The mounts with the volumes that were provided for them, in the same order."""
    provided = iter(volumes)
    return [
        _with_volume(point, next(provided), place) if point.type == "volume" else point
        for point in points
    ]


def volume_names(definition: Definition) -> list[str]:
    """The volumes that a container refers to, each once."""
    return list(dict.fromkeys(p.name for p in definition.mounts if p.type == "volume"))


def anonymous_names(definition: Definition) -> list[str]:
    """Those of them that `docker rm -v` takes away."""
    return list(dict.fromkeys(p.name for p in definition.mounts if p.is_anonymous))


def uses_of(containers: Iterable[Container]) -> dict[str, list[str]]:
    """The containers (ids) that refer to each volume."""
    uses: dict[str, list[str]] = {}
    for container in containers:
        for name in volume_names(container.definition):
            uses.setdefault(name, []).append(container.id)
    return uses


def _with_mode(point: MountPoint) -> MountPoint:
    """dockerd shows "z" for every volume that a flag names, SELinux or not."""
    is_plain = point.type == "volume" and not point.mode
    return replace(point, mode="z") if is_plain else point


def _with_volume(point: MountPoint, volume: Volume, place: Callable[[str], Path]) -> MountPoint:
    return replace(
        point,
        name=volume.name,
        driver=LOCAL_DRIVER,
        source=str(place(volume.name)),
        is_anonymous=point.is_anonymous or not point.name,
    )
