"""What an image is to the engine: its identity, its names, its documents, its place on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NewType

from services.errors import InvalidParameter

from .oci import HistoryEntry, ImageConfig, OciDescriptor
from .platform import Platform
from .reference import Digest, Reference, parse_reference

ImageId = NewType("ImageId", str)

DANGLING_PREFIX: Final = "moby-dangling@"

STEP_PREFIX: Final = "wharfinger-build@"
"""Begins the names of steps of builds, which are no names to users; see `steps`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """One record of containerd's image store: a name for a target.

    `text` is a normalised reference; or `dangling_name(target)` where nothing else keeps the image;
    or whatever another tool of containerd put there.
    """

    text: str
    created_at_ns: int
    updated_at_ns: int

    @property
    def is_dangling(self) -> bool:
        """Whether this is no name, but only keeps the image from being collected."""
        return self.text.startswith(DANGLING_PREFIX)

    @property
    def reference(self) -> Reference | None:
        """The name parsed; None when it is dangling or not a reference."""
        if self.is_dangling:
            return None
        try:
            return parse_reference(self.text)
        except InvalidParameter:
            return None

    @property
    def familiar(self) -> str:
        """The name as people write it."""
        reference = self.reference
        return self.text if reference is None else reference.familiar


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One manifest of an image, present or only mentioned by its index."""

    descriptor: OciDescriptor
    kind: str  # "image", "attestation" or "unknown"
    is_available: bool  # all that it refers to is here
    content_bytes: int  # of the blobs that are here
    unpacked_bytes: int  # of its layers' snapshots
    platform: Platform | None  # of an image
    attests: str = ""  # digest of the manifest that an attestation is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of the local store, seen as the platform of it that suits this machine best.

    `id` is the digest of the target, an index or a manifest. Where nothing of an index is here
    but itself, the image stands with an empty configuration and no layers.
    """

    id: ImageId
    target: OciDescriptor
    names: tuple[ImageName, ...]  # by text; none if it is hidden
    manifests: tuple[Manifest, ...]  # of an index in its order; of a manifest itself
    manifest: OciDescriptor | None  # of the chosen platform
    config_descriptor: OciDescriptor | None
    layers: tuple[OciDescriptor, ...]  # lowest first, like `diff_ids`
    config: ImageConfig
    platform: Platform
    created_at_ns: int | None  # as the image says of itself
    content_bytes: int  # all blobs of it that are here, index and manifests included
    unpacked_bytes: int  # the snapshots of all platforms that are unpacked

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers, lowest first."""
        return self.config.diff_ids

    @property
    def chain_id(self) -> str:
        """Name of the snapshot that holds the whole root file system; "" without layers."""
        ids = chain_ids(self.diff_ids)
        return ids[-1] if ids else ""

    @property
    def history(self) -> tuple[HistoryEntry, ...]:
        """The build's steps, first one first."""
        return tuple(self.config.history or ())

    @property
    def labels(self) -> dict[str, str]:
        """The configuration's labels."""
        config = self.config.config
        return {} if config is None else dict(config.labels or {})

    @property
    def size_bytes(self) -> int:
        """Blobs and snapshots together: what ImageInspect and ImageSummary call Size."""
        return self.content_bytes + self.unpacked_bytes

    @property
    def is_hidden(self) -> bool:
        """Whether it is but a step of a build: users can make containers of it, and no more."""
        return not self.names

    @property
    def is_dangling(self) -> bool:
        """Whether nothing names it."""
        return all(name.is_dangling for name in self.names)

    @property
    def repo_tags(self) -> tuple[str, ...]:
        """Familiar names with their tags; what is no reference stands as it is."""
        named = [name for name in self.names if not name.is_dangling]
        return tuple(
            name.familiar
            for name in named
            if name.reference is None or name.reference.digest is None
        )

    @property
    def repo_digests(self) -> tuple[str, ...]:
        """Familiar repository names with the image's digest, each once."""
        repositories = [name.reference for name in self.names if name.reference is not None]
        digest = Digest(self.id)
        return tuple(dict.fromkeys(ref.with_digest(digest).familiar for ref in repositories))

    @property
    def last_tagged_at_ns(self) -> int | None:
        """When a name was last given; None when there is none."""
        return max((n.updated_at_ns for n in self.names if not n.is_dangling), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untagged:
    """A removal took this name away; familiar spelling."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A removal took the image itself away."""

    id: ImageId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """A container that was made from an image."""

    container_id: str
    is_running: bool
    image: str = ""  # what its maker called the image
    manifest: str = ""  # the digest of that one of the image's manifests


def dangling_name(image_id: str) -> str:
    """The record that keeps an image which has no name. moby's spelling."""
    return f"{DANGLING_PREFIX}{image_id}"


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """For each layer the name of the snapshot of it and all below it.

    Source: OCI image-spec, config.md, "Layer ChainID".
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256_digest(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def sha256_digest(data: bytes) -> Digest:
    """The digest of `data`, with its algorithm."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
