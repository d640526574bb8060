"""A store of images in memory, with the real rules for names and removal; and what goes into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec
import trio

from services.errors import NotFound
from services.images import (
    Deleted,
    HistoryEntry,
    Image,
    ImageConfig,
    ImageFilters,
    ImageId,
    ImageName,
    IngestProgress,
    Loaded,
    Manifest,
    OciDescriptor,
    Platform,
    RunConfig,
    Untagged,
    parse_reference,
)
from services.images.attestations import Attestation
from services.images.catalog import Catalog, find, make_catalog, no_such_platform
from services.images.filters import select
from services.images.load import LoadSink
from services.images.model import chain_ids, dangling_name
from services.images.oci import HealthcheckConfig, OciPlatform, RootFs
from services.images.platform import normalise
from services.images.ports import Body
from services.images.prune import PrunedImages, PruneFilters, choose
from services.images.removal import plan_removal
from services.measures import Durations

SECOND_NS = 10**9
BORN_NS = 1_700_000_000 * SECOND_NS + 123_456_789
LAYERS = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
SIZES = dict(zip(chain_ids(LAYERS), (1000, 200), strict=True))


def digest(digit: str) -> str:
    """sha256: and 64 characters that begin with `digit`."""
    return "sha256:" + digit.ljust(64, "0")


def descriptor(digit: str, size: int = 500, platform: OciPlatform | None = None) -> OciDescriptor:
    """A manifest."""
    return OciDescriptor(
        media_type="application/vnd.oci.image.manifest.v1+json",
        digest=digest(digit),
        size=size,
        platform=platform,
    )


def full_image(digit: str = "1", *names: str) -> Image:
    """An image of an index: our platform, one that is not here, an attestation."""
    own = descriptor(f"{digit}a", platform=OciPlatform(architecture="amd64", os="linux"))
    other = descriptor(f"{digit}b", platform=OciPlatform(architecture="arm64", os="linux"))
    attestation = descriptor(f"{digit}c")
    return Image(
        id=ImageId(digest(digit)),
        target=OciDescriptor(
            media_type="application/vnd.oci.image.index.v1+json", digest=digest(digit), size=900
        ),
        names=tuple(
            ImageName(
                text=str(parse_reference(name).tagged()), created_at_ns=1, updated_at_ns=BORN_NS
            )
            for name in names
        )
        or (ImageName(text=dangling_name(digest(digit)), created_at_ns=1, updated_at_ns=1),),
        manifests=(
            _manifest(own, kind="image", unpacked_bytes=1200, architecture="amd64"),
            replace(
                _manifest(other, kind="image", unpacked_bytes=0, architecture="arm64"),
                is_available=False,
            ),
            replace(_manifest(attestation, kind="attestation"), attests=own.digest),
        ),
        manifest=own,
        config_descriptor=descriptor(f"{digit}d"),
        layers=(descriptor(f"{digit}e"), descriptor(f"{digit}f")),
        config=ImageConfig(
            architecture="amd64",
            os="linux",
            author="somebody",
            config=RunConfig(
                env=["PATH=/bin"],
                cmd=["sh"],
                labels={"a": "1"},
                exposed_ports={"80/tcp": None},
                healthcheck=HealthcheckConfig(test=["CMD", "true"], interval_ns=SECOND_NS),
            ),
            rootfs=RootFs(diff_ids=list(LAYERS)),
            history=[
                HistoryEntry(created="2023-11-14T22:13:20Z", created_by="ADD file"),
                HistoryEntry(created_by="ENV", empty_layer=True),
                HistoryEntry(created_by="RUN make", comment="last"),
            ],
        ),
        platform=normalise("linux", "amd64"),
        created_at_ns=BORN_NS,
        content_bytes=3000,
        unpacked_bytes=1200,
    )


def bare_image(digit: str = "9") -> Image:
    """An index of which nothing else is here, and which nothing names."""
    target = descriptor(digit)
    return Image(
        id=ImageId(target.digest),
        target=target,
        names=(ImageName(text=dangling_name(target.digest), created_at_ns=5, updated_at_ns=5),),
        manifests=(),
        manifest=None,
        config_descriptor=None,
        layers=(),
        config=ImageConfig(),
        platform=normalise("linux", "amd64"),
        created_at_ns=None,
        content_bytes=500,
        unpacked_bytes=0,
    )


def _manifest(
    target: OciDescriptor, *, kind: str, unpacked_bytes: int = 0, architecture: str = ""
) -> Manifest:
    return Manifest(
        descriptor=target,
        kind=kind,
        is_available=True,
        content_bytes=2000,
        unpacked_bytes=unpacked_bytes,
        platform=normalise("linux", architecture) if architecture else None,
    )


@dataclass
class MemoryImages:
    """Images by the real rules, without containerd."""

    images: list[Image]
    reports: list[IngestProgress | Loaded] = field(default_factory=list)
    load_error: Exception | None = None
    loaded_bytes: int = 0
    loaded_platforms: Sequence[Platform] = ()
    origins: dict[str, Sequence[str]] = field(default_factory=dict)
    pruned: PruneFilters | None = None
    load_ended: trio.Event = field(default_factory=trio.Event)
    actions: Durations = field(default_factory=Durations)

    @property
    def catalog(self) -> Catalog:
        return make_catalog(self.images)

    async def list(self, filters: ImageFilters | None = None) -> Sequence[Image]:
        return select(self.catalog, filters or ImageFilters())

    async def inspect(self, ref: str, platform: Platform | None = None) -> Image:
        image = find(self.catalog, ref).image
        if platform is not None and platform != image.platform:
            raise no_such_platform(ref, platform)
        return image

    async def repositories(self, descriptor: OciDescriptor) -> Sequence[str]:
        return self.origins.get(descriptor.digest, ())

    async def remove_platforms(
        self, ref: str, platforms: Sequence[Platform], *, force: bool = False
    ) -> Sequence[Deleted]:
        image = await self.inspect(ref, platforms[0])
        assert image.manifest is not None
        return [Deleted(id=ImageId(image.manifest.digest))]

    async def tag(self, ref: str, name: str) -> Image:
        image = find(self.catalog, ref).image
        text = str(parse_reference(name).tagged())
        added = ImageName(text=text, created_at_ns=2, updated_at_ns=2)
        tagged = replace(image, names=(*image.names, added))
        self.images[self.images.index(image)] = tagged
        return tagged

    async def remove(self, ref: str, *, force: bool = False) -> Sequence[Untagged | Deleted]:
        match = find(self.catalog, ref)
        removal = plan_removal(match, (), force=force)
        self.images.remove(match.image)
        if not removal.deletes_image:
            left = tuple(name for name in match.image.names if name not in removal.names)
            self.images.append(replace(match.image, names=left))
        return removal.answer(match.image.id)

    async def prune(self, wanted: PruneFilters) -> PrunedImages:
        self.pruned = wanted
        doomed = choose(self.catalog, wanted, lambda _id: ())
        names = [Untagged(name=n.familiar) for d in doomed for n in d.names if not n.is_dangling]
        return PrunedImages(removed=tuple(names), reclaimed_bytes=42)

    async def attestations(
        self,
        ref: str,
        platform: Platform | None,
        *,
        predicate_types: Sequence[str] = (),
        with_statements: bool = False,
    ) -> Sequence[Attestation]:
        await self.inspect(ref)
        statement = msgspec.Raw(b'{"x":1}') if with_statements else None
        kind = predicate_types[0] if predicate_types else "https://spdx.dev/Document"
        return [Attestation(descriptor=descriptor("e"), predicate_type=kind, statement=statement)]

    @asynccontextmanager
    async def save(
        self, names: Sequence[str], platforms: Sequence[Platform] = ()
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        for name in names:
            await self.inspect(name)

        async def pieces() -> AsyncIterator[bytes]:
            yield repr((tuple(names), [str(each) for each in platforms])).encode()

        yield pieces()

    async def load(self, body: Body, report: LoadSink, platforms: Sequence[Platform] = ()) -> None:
        self.loaded_platforms = platforms
        try:
            async for piece in body:
                self.loaded_bytes += len(piece)
            for news in self.reports:
                await report(news)
            if self.load_error is not None:
                raise self.load_error
        finally:
            self.load_ended.set()


@dataclass(frozen=True)
class Sized:
    """A snapshot's usage."""

    size_bytes: int


class MemorySnapshots:
    """The sizes of LAYERS."""

    async def usage(self, key: str) -> Sized:
        if key not in SIZES:
            raise NotFound(f"snapshot {key} not found")
        return Sized(SIZES[key])
