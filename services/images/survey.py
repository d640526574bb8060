"""What of an image is here: its documents read from the content store, its blobs looked for.

An image's target is a manifest, or an index that may mention platforms whose blobs never came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from services.errors import InvalidParameter, NotFound

from .oci import (
    ANNOTATION_REFERENCE_DIGEST,
    ANNOTATION_REFERENCE_TYPE,
    CONFIG_TYPES,
    INDEX_TYPES,
    MAX_DOCUMENT_BYTES,
    ImageConfig,
    OciDescriptor,
    OciIndex,
    OciManifest,
    decode_document,
)
from .platform import Platform, normalise, rank
from .ports import ContentClient

_MAX_DEPTH: Final = 4
_MAX_MANIFESTS: Final = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A manifest that the target is or mentions. The documents are None where they are not here."""

    descriptor: OciDescriptor
    manifest: OciManifest | None
    config: ImageConfig | None
    present: frozenset[str]  # digests of the blobs that are here, itself included

    @property
    def layers(self) -> tuple[OciDescriptor, ...]:
        """The layers' descriptors, lowest first; none when the manifest is not here."""
        return () if self.manifest is None else tuple(self.manifest.layers or ())

    @property
    def blobs(self) -> tuple[OciDescriptor, ...]:
        """Everything that it needs, itself first."""
        if self.manifest is None:
            return (self.descriptor,)
        return (self.descriptor, self.manifest.config, *self.layers)

    @property
    def is_available(self) -> bool:
        """Whether nothing is missing."""
        return self.manifest is not None and all(b.digest in self.present for b in self.blobs)

    @property
    def content_bytes(self) -> int:
        """Size of the blobs that are here."""
        sizes = {blob.digest: blob.size for blob in self.blobs if blob.digest in self.present}
        return sum(sizes.values())

    @property
    def attests(self) -> str:
        """The digest of the manifest that this one is an attestation about; "" if it is none."""
        if self.descriptor.annotation(ANNOTATION_REFERENCE_TYPE) != "attestation-manifest":
            return ""
        return self.descriptor.annotation(ANNOTATION_REFERENCE_DIGEST)

    @property
    def is_image(self) -> bool:
        """Whether a container could be made of it: it has layers of a file system, or nothing."""
        if self.descriptor.annotation(ANNOTATION_REFERENCE_TYPE) or self.config is None:
            return False
        return all(_is_layer(layer.media_type) for layer in self.layers)

    @property
    def platform(self) -> Platform | None:
        """As the index says, else as the configuration does; None when neither is here."""
        said = self.descriptor.platform
        if said is not None and said.os:
            return normalise(said.os, said.architecture, said.variant)
        if self.config is None:
            return None
        return normalise(self.config.os, self.config.architecture, self.config.variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A target with all that was found under it."""

    target: OciDescriptor
    indexes: tuple[tuple[OciDescriptor, OciIndex], ...]  # the target first, if it is one
    variants: tuple[Variant, ...]  # in the index's order, nested ones where they are mentioned

    def best(self, host: Platform) -> Variant | None:
        """What this machine should run: of the complete images the most fitting one.

        What does not fit at all comes after what fits, and what is not complete comes last, so
        that an image that can only be looked at is looked at all the same.
        """
        images = [variant for variant in self.variants if variant.is_image]

        def order(variant: Variant) -> tuple[bool, float]:
            fit = None if variant.platform is None else rank(variant.platform, host)
            return not variant.is_available, float("inf") if fit is None else fit

        return min(images, key=order, default=None)

    def of_platform(self, platform: Platform) -> Variant | None:
        """The image for exactly this platform, whole."""
        for variant in self.variants:
            if variant.is_image and variant.platform == platform and variant.is_available:
                return variant
        return None

    @property
    def content_bytes(self) -> int:
        """Size of all blobs that are here, each once."""
        sizes = {index.digest: index.size for index, _ in self.indexes}
        for variant in self.variants:
            sizes |= {b.digest: b.size for b in variant.blobs if b.digest in variant.present}
        return sum(sizes.values())


class Surveyor:
    """Reads images' documents from a content store."""

    def __init__(self, content: ContentClient) -> None:
        self._content = content

    async def survey(self, target: OciDescriptor) -> Survey:
        """Look at everything under `target`.

        Raises:
            NotFound: the target itself is not here.
            InvalidParameter: a document does not parse, or there are absurdly many.
        """
        indexes: list[tuple[OciDescriptor, OciIndex]] = []
        variants: list[Variant] = []
        pending = [(target, 0)]
        while pending:
            descriptor, depth = pending.pop(0)
            if descriptor.media_type not in INDEX_TYPES:
                variants.append(await self._variant(descriptor, must_exist=depth == 0))
            elif (index := await self._index(descriptor, must_exist=depth == 0)) is not None:
                indexes.append((descriptor, index))
                pending[:0] = [(child, depth + 1) for child in index.manifests or ()]
            if depth > _MAX_DEPTH or len(pending) + len(variants) > _MAX_MANIFESTS:
                raise InvalidParameter(f"image index {target.digest} holds too much")
        return Survey(target=target, indexes=tuple(indexes), variants=tuple(variants))

    async def document(self, type_: type[T], descriptor: OciDescriptor) -> T:
        """The document that `descriptor` points to.

        Raises:
            NotFound: it is not here.
            InvalidParameter: it is something else.
        """
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(f"{descriptor.digest} is too large for a document")
        data = await self._content.read_all(descriptor.digest, MAX_DOCUMENT_BYTES)
        return decode_document(type_, data, f"{type_.__name__} {descriptor.digest}")

    async def _index(self, descriptor: OciDescriptor, *, must_exist: bool) -> OciIndex | None:
        try:
            return await self.document(OciIndex, descriptor)
        except NotFound:
            if must_exist:
                raise
            return None

    async def _variant(self, descriptor: OciDescriptor, *, must_exist: bool) -> Variant:
        config: ImageConfig | None = None
        try:
            manifest = await self.document(OciManifest, descriptor)
        except NotFound:
            if must_exist:
                raise
            return Variant(descriptor=descriptor, manifest=None, config=None, present=frozenset())
        present = {descriptor.digest}
        for blob in (manifest.config, *(manifest.layers or ())):
            if blob.digest not in present and await self._is_here(blob.digest):
                present.add(blob.digest)
        if manifest.config.digest in present and manifest.config.media_type in CONFIG_TYPES:
            config = await self.document(ImageConfig, manifest.config)
        return Variant(
            descriptor=descriptor, manifest=manifest, config=config, present=frozenset(present)
        )

    async def _is_here(self, digest: str) -> bool:
        try:
            await self._content.info(digest)
        except NotFound:
            return False
        return True


def _is_layer(media_type: str) -> bool:
    """Whether a file system can be made of it; in-toto statements and the like cannot."""
    return media_type.startswith(
        (
            "application/vnd.oci.image.layer.",
            "application/vnd.docker.image.rootfs.",
        )
    )
