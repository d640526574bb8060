"""Images as values, for tests of pure rules."""

from __future__ import annotations

from collections.abc import Mapping

from services.images.catalog import Catalog, make_catalog
from services.images.model import Image, ImageId, ImageName
from services.images.oci import ImageConfig, OciDescriptor, RunConfig
from services.images.platform import normalise


def id_of(digit: str) -> ImageId:
    """sha256: and 64 characters that begin with `digit`."""
    return ImageId("sha256:" + digit.ljust(64, "0"))


def image(
    digit: str,
    *names: str,
    created_at_ns: int | None = 0,
    labels: Mapping[str, str] | None = None,
) -> Image:
    """An image with an ID that begins with `digit`, under these normalised names."""
    target = OciDescriptor(media_type="m", digest=id_of(digit), size=1)
    return Image(
        id=id_of(digit),
        target=target,
        names=tuple(ImageName(text=name, created_at_ns=0, updated_at_ns=0) for name in names),
        manifests=(),
        manifest=target,
        config_descriptor=target,
        layers=(),
        config=ImageConfig(config=RunConfig(labels=dict(labels or {}))),
        platform=normalise("linux", "amd64"),
        created_at_ns=created_at_ns,
        content_bytes=0,
        unpacked_bytes=0,
    )


def catalog(*images: Image) -> Catalog:
    return make_catalog(images)
