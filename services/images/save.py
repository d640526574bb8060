"""`docker save`: images as one archive that is an OCI layout and docker's older format at once.

The blobs go out as they lie in the content store, under a lease, so that a removal meanwhile takes
nothing away. Memory does not depend on their size.

Source: OCI image-spec, image-layout.md; Docker image spec v1.2; containerd, images/archive/
exporter.go, whose order and annotations these are; moby, daemon/containerd/image_exporter.go.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.containerd.values import LeaseResource
from services.errors import EngineError, NotFound

from .catalog import Catalog, find, no_such_image, no_such_platform
from .leases import WorkingLeases
from .model import Image
from .oci import (
    ANNOTATION_IMAGE_NAME,
    ANNOTATION_REF_NAME,
    OCI_INDEX,
    OciDescriptor,
)
from .platform import Platform
from .ports import ContainerdClient
from .reference import Reference, parse_any_reference
from .survey import Survey, Surveyor, Variant

_NAMES: Final = frozenset({ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME})
_END: Final = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An image to save, under a name or only by its ID."""

    image: Image
    reference: Reference | None


@dataclass(slots=True)
class _Plan:
    """What goes into the archive: blobs by digest, and the lines of its listings."""

    blobs: dict[str, int] = field(default_factory=dict)  # sizes
    index: list[dict[str, Any]] = field(default_factory=list)
    listing: dict[str, dict[str, Any]] = field(default_factory=dict)  # by the manifest's digest


def choose(catalog: Catalog, names: Iterable[str]) -> tuple[Chosen, ...]:
    """The images that a client's words mean: a repository without a tag means all its tags.

    Raises:
        NotFound: nothing matches one of them.
        InvalidParameter: one is no name.
    """
    return tuple(chosen for name in names for chosen in _choose(catalog, name))


def _choose(catalog: Catalog, name: str) -> Sequence[Chosen]:
    parsed = parse_any_reference(name)
    if isinstance(parsed, Reference) and parsed.is_name_only:
        try:
            match = find(catalog, name)
        except NotFound:
            match = None
        if match is None or match.reference is not None:
            tags = [
                Chosen(image=image, reference=one.reference)
                for image in catalog
                for one in image.names
                if one.reference is not None
                and one.reference.name == parsed.name
                and one.reference.tag is not None
            ]
            if not tags:
                raise no_such_image(name)
            return tags
        return (Chosen(image=match.image, reference=None),)
    match = find(catalog, name)
    is_tag = match.reference is not None and match.reference.digest is None
    return (Chosen(image=match.image, reference=match.reference if is_tag else None),)


class Saver:
    """Writes archives of images. Any number at the same time."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        surveyor: Surveyor,
        leases: WorkingLeases,
        host: Platform,
    ) -> None:
        self._containerd, self._surveyor = containerd, surveyor
        self._leases, self._host = leases, host

    @asynccontextmanager
    async def archive(
        self, chosen: Sequence[Chosen], platforms: Sequence[Platform]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The archive of these images; of some platforms only, if any are given.

        With one platform an image is its manifest, with several its index, as with all.

        Raises:
            NotFound: an image does not provide a platform.
        """
        async with self._leases.hold() as lease_id:
            plan = _Plan()
            for one in chosen:
                survey = await self._surveyor.survey(one.image.target)
                _add(plan, one, survey, self._host, platforms)
            for digest in plan.blobs:
                resource = LeaseResource(id=digest, type="content")
                await self._containerd.leases.add_resource(lease_id, resource)
            async with aclosing(self._pieces(plan)) as pieces:
                yield pieces

    async def _pieces(self, plan: _Plan) -> AsyncGenerator[bytes, None]:
        algorithms = sorted({digest.partition(":")[0] for digest in plan.blobs})
        folders = ("blobs", *(f"blobs/{name}" for name in algorithms))
        yield b"".join(_directory(name) for name in folders)
        for digest, size in sorted(plan.blobs.items()):
            yield _header(_path(digest), size)
            left = size
            async with aclosing(self._containerd.blobs.read(digest)) as data:
                async for piece in data:
                    left -= len(piece)
                    yield piece
            if left:
                raise EngineError(f"content {digest} does not have the {size} bytes it should have")
            yield bytes(-size % tarfile.BLOCKSIZE)
        yield b"".join((*_documents(plan), _END))


def _add(
    plan: _Plan, chosen: Chosen, survey: Survey, host: Platform, platforms: Sequence[Platform]
) -> None:
    target, variants = survey.target, survey.variants
    best = survey.best(host)
    if platforms:
        variants = tuple(_of_platform(survey, platform, chosen) for platform in platforms)
        best = best if best in variants else variants[0]
    if len(platforms) == 1:
        target = variants[0].descriptor
    else:
        plan.blobs |= {index.digest: index.size for index, _ in survey.indexes}
    for variant in variants:
        plan.blobs |= {b.digest: b.size for b in variant.blobs if b.digest in variant.present}
    plan.index.append(_index_line(target, chosen.reference))
    if best is not None and best.manifest is not None and best.is_available:
        _list(plan, best, chosen.reference)


def _of_platform(survey: Survey, platform: Platform, chosen: Chosen) -> Variant:
    variant = survey.of_platform(platform)
    if variant is None:
        name = chosen.image.id if chosen.reference is None else chosen.reference.familiar
        raise no_such_platform(name, platform)
    return variant


def _index_line(target: OciDescriptor, reference: Reference | None) -> dict[str, Any]:
    said = {k: v for k, v in msgspec.to_builtins(target).items() if v is not None}
    kept = {k: v for k, v in (target.annotations or {}).items() if k not in _NAMES}
    if reference is not None:
        kept |= {ANNOTATION_IMAGE_NAME: str(reference), ANNOTATION_REF_NAME: reference.tag or ""}
    if platform := said.get("platform"):
        said["platform"] = {k: v for k, v in platform.items() if v is not None}
    said.pop("annotations", None)
    return said | ({"annotations": kept} if kept else {})


def _list(plan: _Plan, variant: Variant, reference: Reference | None) -> None:
    """docker's older listing: one line for an image, with all its names."""
    assert variant.manifest is not None
    line = plan.listing.setdefault(
        variant.descriptor.digest,
        {
            "Config": _path(variant.manifest.config.digest),
            "RepoTags": None,
            "Layers": [_path(layer.digest) for layer in variant.layers],
        },
    )
    if reference is not None:
        line["RepoTags"] = [*(line["RepoTags"] or ()), reference.familiar]


def _documents(plan: _Plan) -> list[bytes]:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": plan.index}
    files = {
        "index.json": index,
        "manifest.json": list(plan.listing.values()),
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
    }
    parts: list[bytes] = []
    for name, document in files.items():
        data = msgspec.json.encode(document)
        parts += [_header(name, len(data)), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return parts


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    return info.tobuf(tarfile.PAX_FORMAT)


def _directory(name: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info.tobuf(tarfile.PAX_FORMAT)
