"""What `docker rmi --platform` takes away: decided here without I/O, but for cutting the ties.

An image whose index mentions several platforms keeps its names and its index. The manifests of the
platforms are cut from it, and with them goes what nothing else refers to: the collector decides, so
that what another image has too stays.

Source: moby, daemon/containerd/image_delete.go (deleteImagePlatforms), which deletes the content
whoever else has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.errors import Conflict

from .catalog import Match, no_such_platform
from .model import Deleted, ImageId, ImageUse
from .oci import INDEX_TYPES
from .platform import Platform
from .ports import ContentClient
from .reference import short_id
from .survey import Survey, Variant

_LABEL_CONTENT_REF: Final = "containerd.io/gc.ref.content"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRemoval:
    """Manifests to cut from the image's indexes: of the platforms, and what is said about them."""

    indexes: tuple[str, ...]
    manifests: tuple[str, ...]
    about_them: tuple[str, ...]

    @property
    def answer(self) -> tuple[Deleted, ...]:
        """What to tell the client once it is done."""
        return tuple(Deleted(id=ImageId(digest)) for digest in self.manifests)


def plan_platform_removal(
    match: Match,
    survey: Survey,
    platforms: Sequence[Platform],
    uses: Sequence[ImageUse],
    *,
    ref: str,
    force: bool,
) -> PlatformRemoval:
    """What to do for a removal of these platforms of what `match` found.

    Raises:
        NotFound: the image has nothing here for a platform.
        Conflict: a container was made of one, and force is not wanted; or the image has one only.
    """
    if match.image.target.media_type not in INDEX_TYPES:
        raise Conflict(
            f"conflict: unable to delete {ref} for one platform - it is of one platform only: "
            "remove the image itself"
        )
    manifests = dict.fromkeys(
        _present(survey, platform, ref).descriptor.digest for platform in platforms
    )
    use = next((use for use in uses if use.manifest in manifests), None)
    if use is not None and not force:
        raise Conflict(
            f"conflict: unable to delete {ref} (must be forced) - container "
            f"{short_id(use.container_id)} is using its referenced image {short_id(match.image.id)}"
        )
    return PlatformRemoval(
        indexes=tuple(descriptor.digest for descriptor, _ in survey.indexes),
        manifests=tuple(manifests),
        about_them=tuple(v.descriptor.digest for v in survey.variants if v.attests in manifests),
    )


async def cut(removal: PlatformRemoval, content: ContentClient) -> None:
    """Let the indexes no longer keep the manifests."""
    wanted = {*removal.manifests, *removal.about_them}
    for digest in removal.indexes:
        labels = (await content.info(digest)).labels
        cut_off = {
            label: ""
            for label, kept in labels.items()
            if label.startswith(_LABEL_CONTENT_REF) and kept in wanted
        }
        if cut_off:
            await content.update_labels(digest, cut_off)


def _present(survey: Survey, platform: Platform, ref: str) -> Variant:
    for variant in survey.variants:
        if variant.is_image and variant.platform == platform and variant.manifest is not None:
            return variant
    raise no_such_platform(ref, platform)
