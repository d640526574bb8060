"""Tag Image of the Engine API: list, inspect, load, tag, history, delete."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from quart import Blueprint

from services.api.filters.images import image_filters, image_prune_filters
from services.api.ports import ImageStore, SnapshotSizes
from services.api.streams.image_load import LoadAnswer
from services.api.types.images import (
    NO_ORIGINS,
    UNKNOWN,
    attestation_to_wire,
    history_to_wire,
    inspect_to_wire,
    removed_to_wire,
    summary_to_wire,
)
from services.api.types.platforms import parse_platform
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode
from services.api.wire.query import Query
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse, StreamResponse
from services.errors import InvalidParameter, NotFound
from services.images import Deleted, Image, ImageFilters, ImageUse, Platform, Untagged
from services.images.model import chain_ids
from services.images.ports import ImageUsers

SHARED_SIZE_SINCE = ApiVersion(1, 42)
MANIFESTS_IN_LIST_SINCE = ApiVersion(1, 47)
PLATFORM_SINCE = ApiVersion(1, 48)
MANIFESTS_SINCE = ApiVersion(1, 48)
INSPECT_PLATFORM_SINCE = ApiVersion(1, 49)
REMOVE_PLATFORMS_SINCE = ApiVersion(1, 50)
IDENTITY_SINCE = ApiVersion(1, 54)
REFERENCE_FILTER_SINCE = ApiVersion(1, 25)


async def nothing_left() -> None:
    """For an engine that does not pull."""


COMPOSE_1: Final = "docker-compose/1."
"""It looks into a member that the API has no more since 1.45, when it makes a service anew."""


class ImageRoutes:
    """The operations on images that are here. `snapshotter` names what holds their files."""

    def __init__(
        self,
        images: ImageStore,
        *,
        snapshots: SnapshotSizes,
        in_use: ImageUsers,
        snapshotter: str,
        drop_leftovers: Callable[[], Awaitable[None]] = nothing_left,
    ) -> None:
        """`drop_leftovers` takes away what pulls that were cut off have left; a prune calls it."""
        self._drop_leftovers = drop_leftovers
        self._images = images
        self._snapshots = snapshots
        self._in_use = in_use
        self._snapshotter = snapshotter

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix. A name may hold slashes, hence the `path`s."""
        blueprint = Blueprint("images", __name__)
        one = "/images/<path:name>"
        for rule, view, method in (
            ("/images/json", self.list, "GET"),
            ("/images/load", self.load, "POST"),
            (f"{one}/json", self.inspect, "GET"),
            (f"{one}/history", self.history, "GET"),
            (f"{one}/tag", outlives_client(self.tag), "POST"),
            (one, outlives_client(self.remove), "DELETE"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        prune = outlives_client(self.prune)
        blueprint.add_url_rule("/images/prune", "prune", prune, methods=["POST"])
        attestations = f"{one}/attestations"
        blueprint.add_url_rule(attestations, "attest", self.attestations, methods=["GET"])
        blueprint.add_url_rule("/images/get", "save_all", self.save, methods=["GET"])
        blueprint.add_url_rule(f"{one}/get", "save", self.save, methods=["GET"])
        return blueprint

    async def list(self) -> EngineResponse:
        """GET /images/json (ImageList). `all` and `digests` change nothing: all is always there."""
        request = current_request()
        query, version = request.query, request.api_version
        manifests = version >= MANIFESTS_IN_LIST_SINCE and query.boolean("manifests")
        identity = version >= IDENTITY_SINCE and query.boolean("identity")
        if identity and not manifests:
            raise InvalidParameter("conflicting options: identity requires manifests=1")
        images = await self._images.list(_list_filters(query, version))
        shared: Sequence[int] = [UNKNOWN] * len(images)
        if version >= SHARED_SIZE_SINCE and query.boolean("shared-size"):
            shared = await self._shared_bytes(images)
        answer = [
            summary_to_wire(
                image,
                version=version,
                uses=self._in_use(image.id),
                shared_bytes=shared_bytes,
                manifests=manifests,
                origins=await self._origins(image) if identity else NO_ORIGINS,
            )
            for image, shared_bytes in zip(images, shared, strict=True)
        ]
        return EngineResponse(encode(answer))

    async def inspect(self, name: str) -> EngineResponse:
        """GET /images/{name}/json (ImageInspect)."""
        request = current_request()
        query, version = request.query, request.api_version
        manifests = version >= MANIFESTS_SINCE and query.boolean("manifests")
        platform = _platform(query, version, INSPECT_PLATFORM_SINCE)
        if manifests and platform is not None:
            raise InvalidParameter(
                "conflicting options: manifests and platform options cannot both be set"
            )
        image = await self._images.inspect(name, platform)
        origins: Sequence[str] = ()
        if version >= IDENTITY_SINCE:
            origins = await self._images.repositories(image.target)
        answer = inspect_to_wire(
            image,
            version=version,
            uses=self._in_use(image.id),
            snapshotter=self._snapshotter,
            platform=platform,
            manifests=manifests,
            origins=origins,
        )
        if request.headers.get("User-Agent", "").startswith(COMPOSE_1):
            answer["ContainerConfig"] = {}
        return EngineResponse(encode(answer))

    async def history(self, name: str) -> EngineResponse:
        """GET /images/{name}/history (ImageHistory)."""
        request = current_request()
        platform = _platform(request.query, request.api_version, PLATFORM_SINCE)
        with self._images.actions.timed("history"):
            image = await self._images.inspect(name, platform)
            layers = await self._layer_bytes(image)
        return EngineResponse(encode(history_to_wire(image, layers)))

    async def load(self) -> EngineResponse:
        """POST /images/load (ImageLoad). What goes wrong is told in the stream, as dockerd does."""
        request = current_request()
        query = request.query
        platforms = _platforms(query, request.api_version)
        is_quiet = query.boolean("quiet", default=True)
        answer = LoadAnswer(self._images, request.body, is_quiet=is_quiet, platforms=platforms)
        return StreamResponse(answer.lines())

    async def save(self, name: str = "") -> EngineResponse:
        """GET /images/get and /images/{name}/get (ImageGetAll, ImageGet)."""
        request = current_request()
        query = request.query
        names = (name,) if name else query.values("names")
        archive = self._images.save(names, _platforms(query, request.api_version))
        return StreamResponse(archive, content_type="application/x-tar")

    async def prune(self) -> EngineResponse:
        """POST /images/prune (ImagePrune)."""
        filters = image_prune_filters(current_request().query.filters(), time.time_ns())
        await self._drop_leftovers()
        pruned = await self._images.prune(filters)
        removed = removed_to_wire(pruned.removed) or None
        answer = {"ImagesDeleted": removed, "SpaceReclaimed": pruned.reclaimed_bytes}
        return EngineResponse(encode(answer))

    async def attestations(self, name: str) -> EngineResponse:
        """GET /images/{name}/attestations (ImageAttestations)."""
        query = current_request().query
        platforms = [parse_platform(text) for text in query.values("platform") if text]
        if len(platforms) > 1:
            raise InvalidParameter("multiple platform parameters are not supported")
        found = await self._images.attestations(
            name,
            platforms[0] if platforms else None,
            predicate_types=[kind for kind in query.values("type") if kind],
            with_statements=query.boolean("statement"),
        )
        return EngineResponse(encode([attestation_to_wire(one) for one in found]))

    async def tag(self, name: str) -> EngineResponse:
        """POST /images/{name}/tag (ImageTag)."""
        query = current_request().query
        repository, tag = query.text("repo"), query.text("tag")
        await self._images.tag(name, f"{repository}:{tag}" if tag else repository)
        return _created()

    async def remove(self, name: str) -> EngineResponse:
        """DELETE /images/{name} (ImageDelete). No image is another's parent: `noprune` is moot."""
        request = current_request()
        query = request.query
        if not name.strip():
            raise InvalidParameter("image name cannot be blank")
        force = query.boolean("force")
        removed: Sequence[Untagged | Deleted]
        if request.api_version >= REMOVE_PLATFORMS_SINCE and any(query.values("platforms")):
            platforms = [parse_platform(text) for text in query.values("platforms") if text]
            removed = await self._images.remove_platforms(name, platforms, force=force)
        else:
            removed = await self._images.remove(name, force=force)
        return EngineResponse(encode(removed_to_wire(removed)))

    async def _origins(self, image: Image) -> Mapping[str, Sequence[str]]:
        """Where each manifest that is here came from, by its digest."""
        return {
            manifest.descriptor.digest: await self._images.repositories(manifest.descriptor)
            for manifest in image.manifests
        }

    async def _layer_bytes(self, image: Image) -> Sequence[int]:
        """Unpacked sizes of its layers, lowest first; 0 for what is not unpacked."""
        return [await self._snapshot_bytes(key) for key in chain_ids(image.diff_ids)]

    async def _shared_bytes(self, images: Sequence[Image]) -> Sequence[int]:
        """For each image, the size of the layers that another one of `images` has too."""
        chains = [chain_ids(image.diff_ids) for image in images]
        users: dict[str, int] = {}
        for key in (key for chain in chains for key in chain):
            users[key] = users.get(key, 0) + 1
        sizes = {key: await self._snapshot_bytes(key) for key, n in users.items() if n > 1}
        return [sum(sizes.get(key, 0) for key in chain) for chain in chains]

    async def _snapshot_bytes(self, key: str) -> int:
        try:
            return (await self._snapshots.usage(key)).size_bytes
        except NotFound:
            return 0


def nobody(_image_id: str, /) -> Sequence[ImageUse]:
    """For an engine without containers."""
    return ()


def _list_filters(query: Query, version: ApiVersion) -> ImageFilters:
    filters = dict(query.filters())
    if version < REFERENCE_FILTER_SINCE and query.text("filter"):
        filters.setdefault("reference", (query.text("filter"),))
    return image_filters(filters, time.time_ns())


def _platform(query: Query, version: ApiVersion, since: ApiVersion) -> Platform | None:
    text = query.text("platform")
    return parse_platform(text) if text and version >= since else None


def _platforms(query: Query, version: ApiVersion) -> Sequence[Platform]:
    """Those that are asked for, each once; all, if it is none."""
    if version < PLATFORM_SINCE:
        return ()
    return tuple(dict.fromkeys(parse_platform(p) for p in query.values("platform") if p))


def _created() -> EngineResponse:
    response = EngineResponse(b"", 201)
    response.headers.pop("Content-Type", None)
    return response
