"""What an archive says it holds: images under names, out of its listing or its OCI layout.

An archive of `docker save` since 25 is both at once, and then the layout counts: its manifests, and
with them the images' IDs, are those that were saved. Older ones have no manifests; they are made
here, and equal ones come out for equal archives, whoever loads them.

Source: Docker image spec v1.2, "Combined Image JSON + Filesystem Changeset Format"; OCI image-spec,
image-layout.md; containerd, images/archive/importer.go, which makes the same manifests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from services.errors import InvalidParameter

from .archive_files import ArchiveFiles, StoredFile
from .compression import Compression
from .model import sha256_digest
from .oci import (
    ANNOTATION_IMAGE_NAME,
    ANNOTATION_REF_NAME,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    ArchiveImage,
    OciDescriptor,
    OciIndex,
    OciLayout,
    decode_document,
)
from .reference import Reference, parse_reference

_LAYOUT_VERSION: Final = "1.0.0"
_LAYER_TYPES: Final = {
    Compression.NONE: DOCKER_LAYER,
    Compression.GZIP: f"{DOCKER_LAYER}.gzip",
    # Docker's types have none for it.
    Compression.ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedImage:
    """An image to load. `document` is the manifest to store first, None when it is there."""

    target: OciDescriptor
    references: tuple[Reference, ...]  # none: it is loaded by its ID alone
    document: bytes | None = None


def read_archive(archive: ArchiveFiles) -> tuple[ArchivedImage, ...]:
    """The images in an archive whose files are stored, each once, with all the names it has there.

    Raises:
        InvalidParameter: it is no image archive, or its parts do not fit together.
    """
    documents = archive.documents
    listed: list[ArchiveImage] = []
    if "manifest.json" in documents:
        listed = decode_document(list[ArchiveImage], documents["manifest.json"], "manifest.json")
    if "index.json" in documents and "oci-layout" in documents:
        layout = decode_document(OciLayout, documents["oci-layout"], "oci-layout")
        if layout.version != _LAYOUT_VERSION:
            raise InvalidParameter(f"unsupported OCI version {layout.version}")
        return _merge(_from_layout(archive, listed))
    if "oci-layout" in documents and not listed:
        raise InvalidParameter("missing index.json in OCI layout")
    if "manifest.json" not in documents:
        raise InvalidParameter("unrecognized image format")
    return _merge([_from_listing(archive, image) for image in listed])


def _from_layout(archive: ArchiveFiles, listed: Sequence[ArchiveImage]) -> list[ArchivedImage]:
    index = decode_document(OciIndex, archive.documents["index.json"], "index.json")
    images: list[ArchivedImage] = []
    for target in index.manifests or ():
        if not target.media_type:
            raise InvalidParameter(f"invalid index.json: {target.digest} has no media type")
        name = _annotated_name(target)
        references = () if name is None else (name,)
        images.append(ArchivedImage(target=target, references=references))
    if len(images) == 1 and len(listed) == 1 and not images[0].references:
        # Some writers name an image in the listing only; with one image there is no doubt which.
        images = [replace(images[0], references=_references(listed[0].repo_tags or ()))]
    return images


def _annotated_name(target: OciDescriptor) -> Reference | None:
    """containerd's annotation holds a whole name; OCI's often a bare tag, which names nothing."""
    if name := target.annotation(ANNOTATION_IMAGE_NAME):
        return _reference(name)
    name = target.annotation(ANNOTATION_REF_NAME)
    return _reference(name) if ":" in name or "/" in name else None


def _from_listing(archive: ArchiveFiles, image: ArchiveImage) -> ArchivedImage:
    config = archive.find(image.config) if image.config else None
    if config is None:
        raise InvalidParameter(f"invalid manifest.json: image config {image.config!r} not found")
    layers = [_layer(archive, path) for path in image.layers or ()]
    document = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": _pointer(DOCKER_CONFIG, config),
            "layers": layers,
        }
    )
    target = OciDescriptor(
        media_type=DOCKER_MANIFEST, digest=sha256_digest(document), size=len(document)
    )
    return ArchivedImage(
        target=target, references=_references(image.repo_tags or ()), document=document
    )


def _layer(archive: ArchiveFiles, path: str) -> dict[str, object]:
    stored = archive.find(path)
    if stored is None:
        raise InvalidParameter(f"invalid manifest.json: layer {path!r} not found")
    media_type = _LAYER_TYPES.get(stored.compression)
    if media_type is None:
        raise InvalidParameter(
            f"invalid archive: layer {path!r} is compressed: {stored.compression.name.lower()}; "
            "plain tar, gzip and zstd are understood"
        )
    return _pointer(media_type, stored)


def _pointer(media_type: str, stored: StoredFile) -> dict[str, object]:
    return {"mediaType": media_type, "digest": stored.digest, "size": stored.size_bytes}


def _references(names: Sequence[str]) -> tuple[Reference, ...]:
    return tuple(_reference(name) for name in names)


def _reference(name: str) -> Reference:
    try:
        return parse_reference(name).tagged()
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid archive: image name {name!r}: {error}") from error


def _merge(images: Sequence[ArchivedImage]) -> tuple[ArchivedImage, ...]:
    """An archive lists an image once for each name; together they are one."""
    merged: dict[str, ArchivedImage] = {}
    for image in images:
        before = merged.get(image.target.digest, replace(image, references=()))
        references = dict.fromkeys((*before.references, *image.references))
        merged[image.target.digest] = replace(before, references=tuple(references))
    return tuple(merged.values())
