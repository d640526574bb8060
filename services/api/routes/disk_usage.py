"""GET /system/df: what images, containers and volumes take on disk.

Source: Engine API, SystemDataUsage; moby, daemon/server/router/system/system_routes.go, for which
fields which clients get.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from quart import Blueprint

from services.api.front.container_images import ContainerImages
from services.api.front.container_list import ContainerList
from services.api.types.images import summary_to_wire
from services.api.types.times import rfc3339_nano
from services.api.types.volumes import VolumeUsage, volume_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode
from services.api.wire.query import Query
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse
from services.build import CacheUsage
from services.build.prune import CACHE_TYPE, STEP_TYPE
from services.containers import Containers
from services.errors import InvalidParameter, NotFound
from services.images import Image, ImageId
from services.images.ports import ImageUsers
from services.images.steps import BuildStep
from services.images.usage import LayerSizes, measure_images
from services.volumes import Volume, VolumeFilters, Volumes

KINDS: Final = ("container", "image", "volume", "build-cache")
TYPES_SINCE: Final = ApiVersion(1, 42)
SHORT_SINCE: Final = ApiVersion(1, 52)
_TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}

Wire = dict[str, Any]


class AllImages(Protocol):
    """What is asked of the images service."""

    async def list(self) -> Sequence[Image]:
        """Those that users see."""

    async def everything(self) -> Sequence[Image]:
        """Steps of builds too."""


class DiskUsageRoutes:
    """SystemDataUsage."""

    def __init__(
        self,
        *,
        images: AllImages,
        layers: LayerSizes,
        in_use: ImageUsers,
        containers: Containers,
        listing: ContainerList,
        image_names: ContainerImages,
        steps: Callable[[], Awaitable[Sequence[BuildStep]]],
        caches: Callable[[], Awaitable[Sequence[CacheUsage]]],
        volumes: Volumes,
        volume_uses: Callable[[], Mapping[str, Collection[str]]],
    ) -> None:
        self._images, self._layers, self._in_use = images, layers, in_use
        self._containers, self._listing = containers, listing
        self._image_names = image_names
        self._volumes, self._volume_uses = volumes, volume_uses
        self._steps, self._caches = steps, caches

    def blueprint(self) -> Blueprint:
        """The route, without version prefix."""
        blueprint = Blueprint("disk_usage", __name__)
        blueprint.add_url_rule("/system/df", "disk_usage", self.disk_usage, methods=["GET"])
        return blueprint

    async def disk_usage(self) -> EngineResponse:
        """GET /system/df (SystemDataUsage)."""
        request = current_request()
        query, version = request.query, request.api_version
        kinds = _kinds(query, version)
        is_legacy, is_verbose = _fields(query, version)
        answer: Wire = {}
        parts = (
            ("image", "Image", "Images", self._image_usage),
            ("container", "Container", "Containers", self._container_usage),
            ("volume", "Volume", "Volumes", self._volume_usage),
            ("build-cache", "BuildCache", "BuildCache", self._build_cache_usage),
        )
        for kind, name, legacy_name, measure in parts:
            if kind not in kinds:
                continue
            usage, items = await measure(version)
            if is_legacy:
                answer[legacy_name] = items
            elif is_verbose:
                usage["Items"] = items
            answer[f"{name}Usage"] = usage
            if is_legacy and kind == "image":
                answer["LayersSize"] = usage["TotalSize"]
        return EngineResponse(encode(answer))

    async def _image_usage(self, version: ApiVersion) -> tuple[Wire, Any]:
        images = await self._images.list()
        uses = [self._in_use(image.id) for image in images]
        usage = await measure_images(images, [bool(each) for each in uses], self._layers)
        items = [
            # Counted for every client: those of old take an unknown number for a use.
            {**summary_to_wire(image, version=version, uses=each, shared_bytes=shared),
             "Containers": len(each)}
            for image, each, shared in zip(images, uses, usage.shared_bytes, strict=True)
        ]  # fmt: skip
        return _usage(usage.active, len(images), usage.reclaimable_bytes, usage.total_bytes), items

    async def _container_usage(self, version: ApiVersion) -> tuple[Wire, Any]:
        names = await self._image_names.now()
        chosen = self._listing.choose(Query({"all": ("1",)}), names)
        sizes = await self._containers.sizes.of_all(chosen)
        written = {c.id: sizes[c.id].written_bytes for c in chosen if c.id in sizes}
        total = sum(written.values())
        running = [c for c in chosen if c.is_running]
        used = sum(written.get(c.id, 0) for c in running)
        items = msgspec.Raw(self._listing.encode(chosen, names, sizes, version=version))
        return _usage(len(running), len(chosen), total - used, total), items

    async def _volume_usage(self, _version: ApiVersion) -> tuple[Wire, Any]:
        items: list[object] = []
        total = reclaimable = active = 0
        uses = self._volume_uses()
        for volume in await self._volumes.select(VolumeFilters()):
            size, count = await self._volume_bytes(volume), len(uses.get(volume.name, ()))
            total += max(0, size)
            reclaimable += 0 if count else max(0, size)
            active += bool(count)
            usage = VolumeUsage(size=size, ref_count=count)
            items.append(volume_to_wire(volume, self._volumes.place(volume.name), usage))
        return _usage(active, len(items), reclaimable, total), items

    async def _build_cache_usage(self, _version: ApiVersion) -> tuple[Wire, Any]:
        """Steps of builds; each with the layers that no image and no other step has. Caches of
        their commands."""
        steps = await self._steps()
        images = {image.id: image for image in await self._images.everything()}
        shown = [image for image in images.values() if not image.is_hidden]
        visible = await measure_images(shown, [True] * len(shown), self._layers)
        everything = list(images.values())
        together = await measure_images(everything, [False] * len(everything), self._layers)
        items = [_step_to_wire(step, images.get(ImageId(step.digest))) for step in steps]
        caches = await self._caches()
        items += [_cache_to_wire(cache) for cache in caches]
        free = together.total_bytes - visible.total_bytes
        free += sum(cache.size_bytes for cache in caches if not cache.is_used)
        used = sum(cache.size_bytes for cache in caches if cache.is_used)
        active = sum(cache.is_used for cache in caches)
        return _usage(active, len(items), free, free + used), items

    async def _volume_bytes(self, volume: Volume) -> int:
        try:
            return await self._volumes.size_bytes(volume)
        except NotFound:  # removed meanwhile
            return 0


def _step_to_wire(step: BuildStep, image: Image | None) -> Wire:
    """Schema BuildCache."""
    is_named = image is not None and not image.is_hidden
    return {
        "ID": step.key[:25],
        "Type": STEP_TYPE,
        "Description": step.description,
        "InUse": is_named,
        "Shared": is_named,
        "Size": 0 if image is None else image.unpacked_bytes,
        "CreatedAt": rfc3339_nano(step.created_at_ns),
        "LastUsedAt": rfc3339_nano(step.used_at_ns),
        "UsageCount": 1,
    }


def _cache_to_wire(cache: CacheUsage) -> Wire:
    """The same for a cache of `RUN --mount=type=cache`."""
    record = cache.record
    return {
        "ID": record.name,
        "Type": CACHE_TYPE,
        "Description": record.description,
        "InUse": cache.is_used,
        "Shared": False,
        "Size": cache.size_bytes,
        "CreatedAt": rfc3339_nano(record.created_at_ns),
        "LastUsedAt": rfc3339_nano(record.used_at_ns),
        "UsageCount": record.use_count,
    }


def _usage(active: int, total: int, reclaimable_bytes: int, total_bytes: int) -> Wire:
    return {
        "ActiveCount": active,
        "TotalCount": total,
        "Reclaimable": reclaimable_bytes,
        "TotalSize": total_bytes,
    }


def _kinds(query: Query, version: ApiVersion) -> Sequence[str]:
    if version < TYPES_SINCE or "type" not in query:
        return KINDS
    for kind in query.values("type"):
        if kind not in KINDS:
            raise InvalidParameter(f"unknown object type: {kind}")
    return query.values("type")


def _fields(query: Query, version: ApiVersion) -> tuple[bool, bool]:
    """Whether the old fields are wanted, and whether the objects themselves are."""
    text = query.text("verbose")
    if version < SHORT_SINCE or not text:
        return True, True
    if text not in _TRUTHS:
        raise InvalidParameter(f"invalid value for verbose: {text}")
    return False, _TRUTHS[text]
