"""What `docker rmi` takes away: decided here without I/O, carried out by the caller.

A name goes alone while others keep the image. With its last name the image goes too, unless a
container stands on it. By ID it goes with all its names, which must be forced when they are in
different repositories or under different tags.

Source: moby, daemon/containerd/image_delete.go, whose conflict texts clients show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.errors import Conflict

from .catalog import Match
from .model import Deleted, ImageId, ImageName, ImageUse, Untagged
from .reference import Reference, short_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Names to take away, in order; then either the image is gone or `keeps_dangling`."""

    names: tuple[ImageName, ...]
    deletes_image: bool
    keeps_dangling: bool = False  # a container needs it: it stays, without a name

    def answer(self, image_id: ImageId) -> tuple[Untagged | Deleted, ...]:
        """What to tell the client once it is done."""
        untagged = [Untagged(name=name.familiar) for name in self.names if not name.is_dangling]
        return (*untagged, Deleted(id=image_id)) if self.deletes_image else tuple(untagged)


def plan_removal(match: Match, uses: Sequence[ImageUse], *, force: bool) -> Removal:
    """What to do for a removal of what `match` found, of an image that `uses` stand on.

    Raises:
        Conflict: dockerd would refuse; its words.
    """
    image, every = match.image, match.image.names
    same = _same_references(match.reference, every)
    if match.reference is not None:
        if len(same) != len(every):
            return Removal(names=same, deletes_image=False)
        if uses and match.name is not None:
            return _plan_used(match.name, image.id, uses[0], every, force=force)
    must_be_one = len(same) != len(every)
    _check(image.id, uses, force=force, referenced_apart=must_be_one)
    return Removal(names=every, deletes_image=True)


def _plan_used(
    name: ImageName, image_id: str, use: ImageUse, every: tuple[ImageName, ...], *, force: bool
) -> Removal:
    """The last name of an image in use: only by force, and the image stays for the container."""
    if not force:
        raise Conflict(
            f"conflict: unable to delete {name.familiar} (must be forced) - container "
            f"{short_id(use.container_id)} is using its referenced image {short_id(image_id)}"
        )
    return Removal(names=every, deletes_image=False, keeps_dangling=True)


def _check(image_id: str, uses: Sequence[ImageUse], *, force: bool, referenced_apart: bool) -> None:
    running = next((use for use in uses if use.is_running), None)
    stopped = next((use for use in uses if not use.is_running), None)
    shown = short_id(image_id)
    if running is not None:
        raise Conflict(
            f"conflict: unable to delete {shown} (cannot be forced) - image is being used by "
            f"running container {short_id(running.container_id)}"
        )
    if force:
        return
    if stopped is not None:
        raise Conflict(
            f"conflict: unable to delete {shown} (must be forced) - image is being used by "
            f"stopped container {short_id(stopped.container_id)}"
        )
    if referenced_apart:
        raise Conflict(
            f"conflict: unable to delete {shown} (must be forced) - image is referenced in "
            "multiple repositories"
        )


def _same_references(wanted: Reference | None, names: Sequence[ImageName]) -> tuple[ImageName, ...]:
    """Those of `names` that mean the same as `wanted` (None: as the first of them).

    The same repository and tag; with it the repository's digests, unless another tag of it is left
    that they would belong to. At a digest: all of the repository. Dangling names go along always.
    """
    if wanted is None:
        wanted = next((n.reference for n in names if n.reference is not None), None)
    if wanted is None:
        return tuple(names)
    if wanted.is_name_only:
        wanted = wanted.tagged()
    of_repository = [n for n in names if _repository(n) == wanted.name]
    tags = {n.reference.tag for n in of_repository if n.reference is not None and n.reference.tag}
    every_tag = wanted.digest is not None
    others = tags - {wanted.tag}

    def is_same(name: ImageName) -> bool:
        reference = name.reference
        if reference is None:
            return True
        if reference.name != wanted.name:
            return False
        if every_tag or (reference.tag is not None and reference.tag == wanted.tag):
            return True
        return reference.tag is None and not others

    return tuple(name for name in names if is_same(name))


def _repository(name: ImageName) -> str:
    reference = name.reference
    return "" if reference is None else reference.name
