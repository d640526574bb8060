"""Images that are mounted into containers: `--mount type=image`. Pure.

Each is a read-only snapshot, made with the container and removed with it, whatever becomes of the
image. It carries the container's label, by which a start finds what a kill has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from services.containers.model import Definition
from services.containers.spec import MountPoint

_ID_CHARS: Final = 64


def snapshot_key(container_id: str, number: int) -> str:
    """The snapshot of a container's mount of this number, among all of its mounts."""
    return f"{container_id}.image-{number}"


def owner_of(key: str) -> str:
    """The id of the container that a snapshot was made for: its root, or an image's."""
    return key[:_ID_CHARS]


def with_reference(point: MountPoint) -> MountPoint:
    """A mount of an image as it is kept: it cannot be written to, and has no place of its own."""
    return replace(point, name=point.name or point.source, source="", rw=False)


def image_mounts(definition: Definition) -> Iterator[tuple[int, MountPoint]]:
    """The images' mounts, each with its number among all."""
    for number, point in enumerate(definition.mounts):
        if point.type == "image":
            yield number, point


def snapshot_keys(definition: Definition) -> list[str]:
    """All snapshots of a container; its root's last."""
    images = (snapshot_key(definition.id, number) for number, _ in image_mounts(definition))
    return [*images, definition.id]
