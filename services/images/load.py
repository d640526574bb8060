"""`docker load`: an archive's images into containerd, whole or not at all.

Blobs first, then manifests with labels that keep what they refer to, then snapshots, names last:
until an image has its name, nobody sees it, and the collector takes what a failure left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from services.containerd.errors import AlreadyExists
from services.errors import InvalidParameter, NotFound

from .archive import ArchivedImage, read_archive
from .ingest import IngestProgress, ingest_archive
from .leases import WorkingLeases
from .model import ImageId
from .oci import OciDescriptor
from .platform import Platform, rank
from .ports import Body, ContainerdClient
from .reference import Reference
from .survey import Survey, Surveyor, Variant
from .unpack import Unpacker

_LABEL_CONTENT_REF: Final = "containerd.io/gc.ref.content."
# Docker's own type for it says nothing: some writers put compressed layers under it too.
_PLAIN_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An image is in the store under `name`, in familiar spelling; or by its ID alone."""

    image_id: ImageId
    name: str | None

    @property
    def text(self) -> str:
        """dockerd's line for it, without the line's end."""
        if self.name is None:
            return f"Loaded image ID: {self.image_id}"
        return f"Loaded image: {self.name}"


LoadSink = Callable[[IngestProgress | Loaded], Awaitable[None]]
NameGiver = Callable[[OciDescriptor, tuple[Reference, ...]], Awaitable[None]]


class Loader:
    """Loads archives. Any number at the same time; each holds one worker thread."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        surveyor: Surveyor,
        unpacker: Unpacker,
        leases: WorkingLeases,
        host: Platform,
        limiter: trio.CapacityLimiter,
    ) -> None:
        self._containerd, self._surveyor, self._unpacker = containerd, surveyor, unpacker
        self._leases, self._host, self._limiter = leases, host, limiter

    async def load(
        self,
        body: Body,
        *,
        name: NameGiver,
        report: LoadSink,
        platforms: Sequence[Platform] = (),
    ) -> None:
        """Bring the images of the archive in `body` in, give them to `name`, then tell `report`.

        With `platforms` only their content is kept.

        Raises:
            InvalidParameter: `body` is no archive that we understand or trust. Nothing is named,
                and nothing that came with it is left.
            NotFound: an image does not provide one of `platforms`.
        """
        async with self._leases.hold(collects=bool(platforms)) as lease_id:
            archive = await ingest_archive(
                body,
                content=self._containerd.content,
                ref_prefix=f"{lease_id}-",
                limiter=self._limiter,
                progress=report,
            )
            images = read_archive(archive)
            for image in images:
                await self._store_document(image, lease_id)
                await self._adopt(image, lease_id, platforms)
            for image in images:
                await name(image.target, image.references)
        for image in images:
            await _report_loaded(image, report)

    async def _store_document(self, image: ArchivedImage, lease_id: str) -> None:
        if image.document is None:
            return
        digest = image.target.digest
        try:
            async with self._containerd.content.writer(
                f"{lease_id}-{digest}", total=len(image.document), expected=digest
            ) as writer:
                if missing := image.document[writer.offset :]:  # none if another namespace has it
                    await writer.write(missing)
                await writer.commit()
        except AlreadyExists:
            return

    async def _adopt(
        self, image: ArchivedImage, lease_id: str, platforms: Sequence[Platform]
    ) -> None:
        """Check the image, unpack what was asked for or this machine could run, tie its blobs."""
        survey = await self._surveyor.survey(image.target)
        if platforms:
            chosen = kept = tuple(_provided(image, survey, platform) for platform in platforms)
        else:
            best, kept = survey.best(self._host), survey.variants
            if best is None or not best.is_available:
                raise InvalidParameter(_incomplete(survey, best))
            runs = best.platform is not None and rank(best.platform, self._host) is not None
            chosen = (best,) if runs else ()
        for variant in kept:
            if variant.is_available and variant.is_image:
                _check_layers(variant)
        await self._label(survey, kept)
        for one in chosen:
            if one.manifest is not None and one.config is not None:
                await self._unpacker.unpack(
                    one.manifest.config, one.layers, one.config.diff_ids, lease_id=lease_id
                )

    async def _label(self, survey: Survey, kept: Sequence[Variant]) -> None:
        """Let each document keep what it refers to, in containerd's spelling."""
        wanted = {variant.descriptor.digest for variant in kept}
        wanted |= {descriptor.digest for descriptor, _ in survey.indexes}
        for descriptor, index in survey.indexes:
            labels = {
                f"{_LABEL_CONTENT_REF}m.{number}": child.digest
                for number, child in enumerate(index.manifests or ())
                if child.digest in wanted
            }
            if labels:
                await self._containerd.content.update_labels(descriptor.digest, labels)
        for variant in kept:
            if variant.manifest is None:
                continue
            labels = {f"{_LABEL_CONTENT_REF}config": variant.manifest.config.digest}
            labels |= {
                f"{_LABEL_CONTENT_REF}l.{number}": layer.digest
                for number, layer in enumerate(variant.layers)
            }
            await self._containerd.content.update_labels(variant.descriptor.digest, labels)


async def _report_loaded(image: ArchivedImage, report: LoadSink) -> None:
    image_id = ImageId(image.target.digest)
    for reference in image.references:
        await report(Loaded(image_id=image_id, name=reference.familiar))
    if not image.references:
        await report(Loaded(image_id=image_id, name=None))


def _provided(image: ArchivedImage, survey: Survey, platform: Platform) -> Variant:
    """The variant for `platform`, whole."""
    if (variant := survey.of_platform(platform)) is not None:
        return variant
    name = image.references[0].familiar if image.references else image.target.digest
    raise NotFound(
        f"image {name} was loaded, but doesn't provide the requested platform ({platform})"
    )


def _check_layers(variant: Variant) -> None:
    """A plain layer's digest must be the one that the configuration promises."""
    diff_ids = () if variant.config is None else variant.config.diff_ids
    if len(diff_ids) != len(variant.layers):
        raise InvalidParameter(
            f"invalid image {variant.descriptor.digest}: {len(variant.layers)} layers, but its "
            f"configuration names {len(diff_ids)}"
        )
    for layer, diff_id in zip(variant.layers, diff_ids, strict=True):
        if layer.media_type == _PLAIN_LAYER and layer.digest != diff_id:
            raise InvalidParameter(
                f"invalid image {variant.descriptor.digest}: layer {layer.digest} is not the "
                f"{diff_id} of its configuration"
            )


def _incomplete(survey: Survey, chosen: Variant | None) -> str:
    if chosen is None:
        return f"invalid archive: {survey.target.digest} holds no image"
    missing = [blob.digest for blob in chosen.blobs if blob.digest not in chosen.present]
    return (
        f"invalid archive: content of image {survey.target.digest} is missing: {', '.join(missing)}"
    )
