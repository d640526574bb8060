"""The catalog as containerd has it now: listed anew when it may have changed, documents read once.

containerd's image store is the truth, and ctr or nerdctl may change it behind our back. While its
events are followed, the list is read again when one says that a name changed; without them, when it
is older than a second. What was read of a target is kept for as long as it is listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import trio
from loguru import logger

from services.containerd.values import ImageRecord
from services.errors import EngineError, InvalidParameter, NotFound

from ._groups import single_error
from .catalog import Catalog, make_catalog
from .model import STEP_PREFIX, Image, ImageId, ImageName, Manifest, chain_ids
from .names import from_descriptor
from .oci import ImageConfig, OciDescriptor
from .platform import Platform, normalise
from .ports import ContainerdClient
from .survey import Survey, Surveyor, Variant
from .times import parse_rfc3339_ns

MAX_AGE_S: Final = 1.0
FOLLOWED_MAX_AGE_S: Final = 60.0  # events are told once; should one be lost, we are wrong no longer
_LISTENING_AFTER_S: Final = 1.0  # containerd does not say when a subscription has begun
_AGAIN_S: Final = 1.0
_READS_AT_ONCE: Final = 16

_log = logger.bind(service="images")


@dataclass(slots=True)
class _Facts:
    """What is known of targets, by digest. Images have no names here."""

    settled: dict[str, Image] = field(default_factory=dict)  # all of them here and unpacked
    unreadable: set[str] = field(default_factory=set)  # already reported


class ImageIndex:
    """Reads the catalog. Refreshes are shared by all who ask before one begins."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        surveyor: Surveyor,
        host: Platform,
    ) -> None:
        self._containerd, self._surveyor, self._host = containerd, surveyor, host
        self._changed_at = -math.inf  # when an event last told of a change
        self._followed_from = math.inf  # since when no change goes unnoticed
        self._facts = _Facts()
        self._unpacked_bytes: dict[str, int] = {}  # by chain ID; a committed snapshot never changes
        self._catalog = Catalog(images=())
        self._listed_at = -math.inf  # trio's clock, when the call for the list went out
        self._records: Sequence[ImageRecord] = ()  # what the catalog was made of
        self._refreshing = trio.Lock()
        self._reads = trio.Semaphore(_READS_AT_ONCE)

    async def current(self, *, fresh: bool = False) -> Catalog:
        """The catalog as of a moment ago; with `fresh`, not older than this call.

        Raises:
            Unavailable: containerd is away.
        """
        needed = trio.current_time() if fresh else self._oldest_good()
        if self._listed_at < needed:
            async with self._refreshing:
                if self._listed_at < needed:
                    await self._refresh()
        return self._catalog

    async def of_platform(self, image: Image, platform: Platform) -> Image | None:
        """An image of the catalog, as its manifest for `platform` has it; None if that is missing.

        Raises:
            Unavailable: containerd is away.
        """
        survey = await self._surveyor.survey(image.target)
        variant = survey.of_platform(platform)
        if variant is None:
            return None
        unpacked = [await self._unpacked(each) or 0 for each in survey.variants]
        return replace(_describe(survey, variant, unpacked), names=image.names)

    def forget(self) -> None:
        """What images consist of has changed: they are read anew."""
        self._facts.settled.clear()
        self._changed_at = trio.current_time()

    def at_once(self) -> Catalog | None:
        """The catalog as of a moment ago, if nobody has to be asked for it."""
        return self._catalog if self._listed_at >= self._oldest_good() else None

    async def follow(self) -> None:
        """Hear of changes from containerd until cancelled, across its restarts."""
        while True:
            try:
                async with self._containerd.events.subscribe("topic~=/images/") as events:
                    self._followed_from = trio.current_time() + _LISTENING_AFTER_S
                    async for _ in events:
                        self._changed_at = trio.current_time()
            except EngineError as error:
                _log.debug("changes of images not followed", error=str(error))
            finally:
                self._followed_from = math.inf
            await trio.sleep(_AGAIN_S)

    def _oldest_good(self) -> float:
        """When the list must have been asked for, at the latest, to be used now."""
        now = trio.current_time()
        if now < self._followed_from:
            return max(now - MAX_AGE_S, self._changed_at)
        return max(now - FOLLOWED_MAX_AGE_S, self._changed_at, self._followed_from)

    async def _refresh(self) -> None:
        listed_at = trio.current_time()
        records = await self._containerd.images.list()
        by_target: dict[str, list[ImageRecord]] = {}
        for record in records:
            by_target.setdefault(record.target.digest, []).append(record)
        if records != self._records or by_target.keys() != self._facts.settled.keys():
            images = await self._read_images(by_target)
            self._forget(set(by_target))
            self._catalog, self._records = make_catalog(images), records
        self._listed_at = listed_at

    async def _read_images(self, by_target: Mapping[str, Sequence[ImageRecord]]) -> list[Image]:
        images: list[Image] = []

        async def read(records: Sequence[ImageRecord]) -> None:
            async with self._reads:
                if (image := await self._image(records)) is not None:
                    images.append(image)

        with single_error():
            async with trio.open_nursery() as nursery:
                for records in by_target.values():
                    nursery.start_soon(read, records)
        return images

    async def _image(self, records: Sequence[ImageRecord]) -> Image | None:
        """The image that all of `records` name; None when it cannot be read: reported once."""
        target = from_descriptor(records[0].target)
        try:
            facts = await self._read(target)
        except (NotFound, InvalidParameter) as error:
            if target.digest not in self._facts.unreadable:
                self._facts.unreadable.add(target.digest)
                _log.warning("image left out", image=records[0].name, error=str(error))
            return None
        names = [_to_name(r) for r in records if not r.name.startswith(STEP_PREFIX)]
        return replace(facts, names=tuple(sorted(names, key=lambda name: name.text)))

    async def _read(self, target: OciDescriptor) -> Image:
        if (known := self._facts.settled.get(target.digest)) is not None:
            return known
        survey = await self._surveyor.survey(target)
        unpacked = [await self._unpacked(variant) for variant in survey.variants]
        image = _describe(survey, survey.best(self._host), [size or 0 for size in unpacked])
        if all(size is not None for size in unpacked):
            self._facts.settled[target.digest] = image
        return image

    async def _unpacked(self, variant: Variant) -> int | None:
        """Bytes in the snapshots of a variant; None while some are missing: we look again."""
        if not variant.is_image or variant.config is None:
            return 0 if variant.manifest is not None else None
        total = 0
        for chain_id in chain_ids(variant.config.diff_ids):
            if chain_id not in self._unpacked_bytes:
                try:
                    usage = await self._containerd.snapshots.usage(chain_id)
                except NotFound:
                    return None
                self._unpacked_bytes[chain_id] = usage.size_bytes
            total += self._unpacked_bytes[chain_id]
        return total

    def _forget(self, listed: set[str]) -> None:
        """Drop what is about targets that are gone, so that the cache is as large as the store."""
        facts = self._facts
        facts.settled = {digest: i for digest, i in facts.settled.items() if digest in listed}
        facts.unreadable &= listed
        kept = {
            chain_id for image in facts.settled.values() for chain_id in chain_ids(image.diff_ids)
        }
        self._unpacked_bytes = {c: n for c, n in self._unpacked_bytes.items() if c in kept}


def _to_name(record: ImageRecord) -> ImageName:
    return ImageName(
        text=record.name,
        created_at_ns=record.created_at_ns,
        updated_at_ns=record.updated_at_ns,
    )


def _describe(survey: Survey, chosen: Variant | None, unpacked: Sequence[int]) -> Image:
    config = ImageConfig() if chosen is None or chosen.config is None else chosen.config
    manifest = None if chosen is None else chosen.manifest
    platform = None if chosen is None else chosen.platform
    return Image(
        id=ImageId(survey.target.digest),
        target=survey.target,
        names=(),
        manifests=tuple(map(_manifest, survey.variants, unpacked)),
        manifest=None if chosen is None else chosen.descriptor,
        config_descriptor=None if manifest is None else manifest.config,
        layers=() if chosen is None else chosen.layers,
        config=config,
        platform=platform or normalise(config.os, config.architecture, config.variant),
        created_at_ns=parse_rfc3339_ns(config.created),
        content_bytes=survey.content_bytes,
        unpacked_bytes=sum(unpacked),
    )


def _manifest(variant: Variant, unpacked_bytes: int) -> Manifest:
    kind = "image" if variant.is_image else "attestation" if variant.attests else "unknown"
    return Manifest(
        descriptor=variant.descriptor,
        kind=kind,
        is_available=variant.is_available,
        content_bytes=variant.content_bytes,
        unpacked_bytes=unpacked_bytes,
        platform=variant.platform,
        attests=variant.attests,
    )
