"""All images at one moment, and how a user's words find one among them. Pure functions of values.

Source: moby, daemon/containerd/image.go: the same words find the same image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from services.errors import NotFound

from .model import DANGLING_PREFIX, Image, ImageId, ImageName
from .platform import Platform
from .reference import Reference, id_prefix, parse_any_reference


@dataclass(frozen=True, kw_only=True)  # no slots: the lookups are kept in __dict__
class Catalog:
    """The images of the store at one moment, newest first."""

    images: tuple[Image, ...]

    @cached_property
    def by_id(self) -> dict[ImageId, Image]:
        """Each image once."""
        return {image.id: image for image in self.images}

    @cached_property
    def by_name(self) -> dict[str, Image]:
        """Each image under every text that names it, dangling ones too."""
        return {name.text: image for image in self.images for name in image.names}

    def __iter__(self) -> Iterator[Image]:
        return iter(self.images)

    def find(self, text: str) -> Match:
        """As the function `find`."""
        return find(self, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a user's words found: an image, and the name when they were exactly one of its names."""

    image: Image
    name: ImageName | None
    reference: Reference | None  # the words as one; None when they were an ID or a part of it


def make_catalog(images: Iterable[Image]) -> Catalog:
    """Newest first; of the same age by ID, so that a list never jumps about."""
    return Catalog(images=tuple(sorted(images, key=lambda i: (-(i.created_at_ns or 0), i.id))))


def no_such_image(text: str) -> NotFound:
    """dockerd's answer, which clients look for to decide on a pull."""
    parsed = parse_any_reference(text)
    shown = parsed.tagged().familiar if isinstance(parsed, Reference) else parsed
    return NotFound(f"No such image: {shown}")


def no_such_platform(text: str, platform: Platform) -> NotFound:
    """dockerd's answer for an image that is here, but not for this platform."""
    return NotFound(
        f"image with reference {text} was found but does not provide the specified "
        f"platform ({platform})"
    )


def find(catalog: Catalog, text: str) -> Match:
    """The image that `text` means: a name (the tag may be missing: latest), a name at a digest, an
    ID, or the beginning of one with at least four characters. A name wins over an ID.

    Raises:
        InvalidParameter: `text` is none of these.
        NotFound: nothing matches, or several IDs begin so.
    """
    if text.startswith(DANGLING_PREFIX) and text in catalog.by_name:
        return Match(image=catalog.by_name[text], name=None, reference=None)
    parsed = parse_any_reference(text)
    if not isinstance(parsed, Reference):
        image = catalog.by_id.get(ImageId(parsed))
        if image is None:
            raise no_such_image(text)
        return Match(image=image, name=None, reference=None)
    if parsed.digest is not None:
        return _find_digested(catalog, parsed, text)
    return _find_named(catalog, parsed.tagged(), text)


def _find_named(catalog: Catalog, reference: Reference, text: str) -> Match:
    wanted = str(reference)
    if (image := catalog.by_name.get(wanted)) is not None:
        name = next(name for name in image.names if name.text == wanted)
        return Match(image=image, name=name, reference=reference)
    prefix = id_prefix(text)
    if prefix is None:
        raise no_such_image(text)
    shown = (image for image in catalog.images if not image.is_hidden)
    found = [image for image in shown if image.id.partition(":")[2].startswith(prefix)]
    if len(found) > 1:
        raise NotFound("ambiguous reference")
    if not found:
        raise no_such_image(text)
    return Match(image=found[0], name=None, reference=None)


def _find_digested(catalog: Catalog, reference: Reference, text: str) -> Match:
    """The digest decides; the image must be known by the repository, the tag is ignored."""
    image = catalog.by_id.get(ImageId(reference.digest or ""))
    if image is None or not any(_is_repository(n, reference) for n in image.names):
        raise no_such_image(text)
    wanted = str(reference)
    name = next((name for name in image.names if name.text == wanted), None)
    return Match(image=image, name=name, reference=reference)


def _is_repository(name: ImageName, reference: Reference) -> bool:
    known = name.reference
    return known is not None and known.name == reference.name
