"""One image on its way from one endpoint: documents, configuration, layers, and its name last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from services.containerd.errors import AlreadyExists
from services.errors import InvalidParameter, NotFound, single_error
from services.images.oci import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MAX_DOCUMENT_BYTES,
    ImageConfig,
    OciDescriptor,
    OciIndex,
    OciManifest,
    decode_document,
)
from services.images.platform import Platform, normalise
from services.images.reference import Reference, is_digest

from .choice import choose
from .endpoints import Endpoint
from .fetch import BlobFetcher, BlobSource
from .layer_lines import LayerLines, LayerWatch, Silent
from .leases import PullLeases, ingest_ref
from .manifests import MAX_BYTES, Document, Manifests
from .ports import ContainerdClient, ImageStore
from .progress import Board
from .retry import retrying
from .session import Session
from .settings import RegistrySettings

MAX_LAYERS: Final = 1000
MAX_NESTING: Final = 4
LABEL_REF: Final = "containerd.io/gc.ref.content."


@dataclass(frozen=True, slots=True, kw_only=True)
class PullMeans:
    """What all pulls share."""

    containerd: ContainerdClient
    images: ImageStore
    fetcher: BlobFetcher
    leases: PullLeases
    settings: Callable[[], RegistrySettings]
    host: Platform


@dataclass(slots=True)
class ImagePull:
    """One image from one endpoint."""

    means: PullMeans
    session: Session
    endpoint: Endpoint
    reference: Reference
    platform: Platform | None
    board: Board
    has_answered: bool = False
    has_fetched: bool = False
    is_new: bool = True

    async def run(self) -> None:
        """Carry it out, telling the board. Raises as `Puller.pull`, in the registry's own words."""
        means, reference = self.means, self.reference
        attempts = means.settings().max_attempts
        manifests = Manifests(self.session, self.endpoint, reference.path)
        await self.session.ping(self.endpoint)
        self.has_answered = True
        found = await retrying(lambda: manifests.resolve(reference), attempts=attempts)
        self.board.message(
            f"Pulling from {reference.path}", reference.tag or reference.digest or ""
        )
        target = found.descriptor if isinstance(found, Document) else found
        key = f"{reference} {self.platform or ''}"
        async with means.leases.hold(key) as lease_id:
            self.is_new = not await self._is_named(target)
            await self._bring(manifests, found, lease_id)
            await means.images.name_pulled(reference, target)
        self.board.message(f"Digest: {target.digest}")
        news = (
            "Downloaded newer image for"
            if self.is_new or self.has_fetched
            else ("Image is up to date for")
        )
        self.board.message(f"Status: {news} {reference.familiar}")

    async def _is_named(self, target: OciDescriptor) -> bool:
        try:
            record = await self.means.containerd.images.get(str(self.reference))
        except NotFound:
            return False
        return record.target.digest == target.digest

    async def _bring(
        self, manifests: Manifests, found: OciDescriptor | Document, lease_id: str
    ) -> None:
        """Documents from the target down to one manifest, then what that one needs."""
        for _ in range(MAX_NESTING):
            document = await self._document(manifests, found)
            descriptor = document.descriptor
            if descriptor.media_type not in INDEX_TYPES:
                manifest = decode_document(
                    OciManifest, document.data, f"manifest {descriptor.digest}"
                )
                _check(manifest)
                await self._store(document, _references(manifest))
                await self._bring_image(manifest, lease_id)
                return
            index = decode_document(OciIndex, document.data, f"index {descriptor.digest}")
            children = index.manifests or []
            await self._store(
                document,
                {f"{LABEL_REF}m.{number}": child.digest for number, child in enumerate(children)},
            )
            found = self._choose(children)
        raise InvalidParameter(f"image index of {self.reference} is nested too deeply")

    def _choose(self, children: Sequence[OciDescriptor]) -> OciDescriptor:
        wanted = self.platform or self.means.host
        chosen = choose(children, wanted, strict=self.platform is not None)
        if chosen is None:
            raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
        return chosen

    async def _document(self, manifests: Manifests, found: OciDescriptor | Document) -> Document:
        """The bytes: at hand, in the content store, or from the registry."""
        if isinstance(found, Document):
            return found
        if not is_digest(found.digest):
            raise InvalidParameter(f"invalid digest {found.digest!r} in an index")
        content = self.means.containerd.content
        try:
            data = await content.read_all(found.digest, MAX_BYTES)
        except NotFound:
            return await retrying(
                lambda: manifests.fetch(found.digest, self.reference),
                attempts=self.means.settings().max_attempts,
            )
        return Document(descriptor=found, data=data)

    async def _store(self, document: Document, labels: dict[str, str]) -> None:
        """Into the content store, under the lease; it keeps what it refers to from now on."""
        content, digest = self.means.containerd.content, document.descriptor.digest
        labels = labels | self._source.labels
        try:
            async with content.writer(
                ingest_ref(digest), total=len(document.data), expected=digest
            ) as writer:
                if missing := document.data[writer.offset :]:
                    await writer.write(missing)
                await writer.commit(labels)
            self.has_fetched = True
        except AlreadyExists:
            await content.update_labels(digest, labels)

    async def _bring_image(self, manifest: OciManifest, lease_id: str) -> None:
        layers = manifest.layers or []
        lines = LayerLines(board=self.board, layers=layers)
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fetch_layers, layers, lines)
                source, watch = self._source, Silent()
                fetched = await self.means.fetcher.fetch(source, manifest.config, watch)
                self.has_fetched = self.has_fetched or fetched
                config = await self._config(manifest)
                await self.means.images.unpack(
                    manifest.config, layers, config.diff_ids, lease_id=lease_id, steps=lines
                )

    async def _fetch_layers(self, layers: Sequence[OciDescriptor], lines: LayerLines) -> None:
        """Side by side, the lowest first: it is the one that is unpacked first."""
        async with trio.open_nursery() as nursery:
            for digest, blob in {layer.digest: layer for layer in layers}.items():
                await nursery.start(self._fetch_layer, blob, lines.watch(digest))

    async def _fetch_layer(
        self, blob: OciDescriptor, watch: LayerWatch, *, task_status: trio.TaskStatus[None]
    ) -> None:
        fetched = await self.means.fetcher.fetch(self._source, blob, watch, task_status=task_status)
        self.has_fetched = self.has_fetched or fetched
        watch.end(fetched=fetched, is_new=self.is_new)

    async def _config(self, manifest: OciManifest) -> ImageConfig:
        data = await self.means.containerd.content.read_all(
            manifest.config.digest, MAX_DOCUMENT_BYTES
        )
        config = decode_document(ImageConfig, data, f"configuration {manifest.config.digest}")
        if len(config.diff_ids) != len(manifest.layers or []):
            raise InvalidParameter("invalid rootfs in image configuration")
        self._warn_of_platform(config)
        return config

    def _warn_of_platform(self, config: ImageConfig) -> None:
        """An image for one platform alone is taken as it is, with dockerd's warning."""
        if self.platform is None or not config.os:
            return
        actual = normalise(config.os, config.architecture, config.variant)
        if actual.architecture != self.platform.architecture or actual.os != self.platform.os:
            self.board.message(
                f"WARNING: image with reference {self.reference.familiar} was found but does not "
                f"match the specified platform: wanted {self.platform}, actual: {actual}"
            )

    @property
    def _source(self) -> BlobSource:
        return BlobSource(
            session=self.session,
            endpoint=self.endpoint,
            domain=self.reference.domain,
            repository=self.reference.path,
        )


def _references(manifest: OciManifest) -> dict[str, str]:
    labels = {f"{LABEL_REF}config": manifest.config.digest}
    return labels | {
        f"{LABEL_REF}l.{number}": layer.digest for number, layer in enumerate(manifest.layers or ())
    }


def _check(manifest: OciManifest) -> None:
    """Refuse what is no image, and digests that are none."""
    config_type = manifest.config.media_type
    if config_type not in CONFIG_TYPES:
        raise InvalidParameter(f'Encountered remote "{config_type}"(unknown) when fetching')
    layers = manifest.layers or []
    if len(layers) > MAX_LAYERS:
        raise InvalidParameter(f"the image has more than {MAX_LAYERS} layers")
    for blob in (manifest.config, *layers):
        if not is_digest(blob.digest):
            raise InvalidParameter(f"invalid digest {blob.digest!r} in a manifest")
    if manifest.config.size > MAX_DOCUMENT_BYTES:
        raise InvalidParameter(f"{manifest.config.digest} is too large for a configuration")
