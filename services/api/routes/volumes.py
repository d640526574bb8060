"""Tag Volume of the Engine API: list, create, inspect, delete, prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from quart import Blueprint

from services.api.types.volumes import VolumeCreateBody, volume_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse
from services.errors import InvalidParameter, NotSupported, Unavailable
from services.volumes import Volume, VolumeFilters, Volumes

PRUNES_ANONYMOUS_SINCE: Final = ApiVersion(1, 42)
_LIST_FILTERS: Final = frozenset({"dangling", "driver", "label", "name"})
_TRUTHS: Final[Mapping[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


class VolumeRoutes:
    """The operations on volumes."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("volumes", __name__)
        one = "/volumes/<path:name>"  # a slash only makes a name that none has
        for rule, view, method in (
            ("/volumes", self.list, "GET"),
            ("/volumes/create", outlives_client(self.create), "POST"),
            ("/volumes/prune", outlives_client(self.prune), "POST"),
            (one, self.inspect, "GET"),
            (one, self.update, "PUT"),
            (one, outlives_client(self.remove), "DELETE"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    async def list(self) -> EngineResponse:
        """GET /volumes (VolumeList)."""
        filters = list_filters(current_request().query.filters())
        volumes = [self._wire(volume) for volume in await self._volumes.select(filters)]
        return EngineResponse(encode({"Volumes": volumes, "Warnings": None}))

    async def create(self) -> EngineResponse:
        """POST /volumes/create (VolumeCreate)."""
        body = await read_json(VolumeCreateBody)
        if body is None:
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        if body.cluster_volume_spec is not None:
            raise NotSupported("cluster volumes are not supported")
        volume = await self._volumes.create(body.request())
        return EngineResponse(encode(self._wire(volume)), 201)

    async def inspect(self, name: str) -> EngineResponse:
        """GET /volumes/{name} (VolumeInspect)."""
        return EngineResponse(encode(self._wire(await self._volumes.get(name))))

    async def update(self, name: str) -> EngineResponse:
        """PUT /volumes/{name} (VolumeUpdate): of cluster volumes only, which need swarm mode."""
        raise Unavailable(
            f"volume {name} cannot be updated: only cluster volumes can, and this node is not "
            "part of a swarm"
        )

    async def remove(self, name: str) -> EngineResponse:
        """DELETE /volumes/{name} (VolumeDelete)."""
        await self._volumes.remove(name, force=current_request().query.boolean("force"))
        response = EngineResponse(b"", 204)
        response.headers.pop("Content-Type", None)
        return response

    async def prune(self) -> EngineResponse:
        """POST /volumes/prune (VolumePrune)."""
        request = current_request()
        filters, wants_all = prune_filters(request.query.filters())
        named = wants_all or request.api_version < PRUNES_ANONYMOUS_SINCE
        pruned = await self._volumes.prune(filters, named=named)
        answer = {"VolumesDeleted": pruned.names, "SpaceReclaimed": pruned.reclaimed_bytes}
        return EngineResponse(encode(answer))

    def _wire(self, volume: Volume) -> object:
        return volume_to_wire(volume, self._volumes.place(volume.name))


def list_filters(filters: Mapping[str, Sequence[str]]) -> VolumeFilters:
    """The `filters` of VolumeList.

    Raises:
        InvalidParameter: an unknown filter, or a truth value that is none.
    """
    for name in filters:
        if name not in _LIST_FILTERS:
            raise InvalidParameter(f"invalid filter '{name}'")
    return VolumeFilters(
        names=tuple(filters.get("name", ())),
        drivers=tuple(filters.get("driver", ())),
        labels=tuple(filters.get("label", ())),
        is_dangling=_truth("dangling", filters.get("dangling", ())),
    )


def prune_filters(filters: Mapping[str, Sequence[str]]) -> tuple[VolumeFilters, bool]:
    """The `filters` of VolumePrune, and whether named volumes are meant too. Raises likewise."""
    for name in filters:
        if name not in ("label", "label!", "all"):
            raise InvalidParameter(f"invalid filter '{name}'")
    chosen = VolumeFilters(
        labels=tuple(filters.get("label", ())), not_labels=tuple(filters.get("label!", ()))
    )
    return chosen, bool(_truth("all", filters.get("all", ())))


def _truth(name: str, values: Sequence[str]) -> bool | None:
    """One truth value, or none at all; both at once are a contradiction."""
    truths = {_TRUTHS.get(value) for value in values}
    if None in truths or len(truths) > 1:
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return truths.pop() if truths else None
