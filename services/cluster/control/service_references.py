"""What a service names: secrets, configs and networks, which must be there as long as it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from services.cluster.control.refusals import invalid
from services.cluster.control.service_changes import container_of
from services.cluster.control.service_specs import networks_of
from services.cluster.model.objects import ClusterNetwork, Config, Secret
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.specs import ServiceSpec
from services.errors import NotFound

Used = Secret | Config | ClusterNetwork


def ids_named_by(spec: ServiceSpec) -> set[str]:
    """The ids of all that a spec names; its networks are resolved."""
    container = container_of(spec)
    return {
        *(one.secret_id for one in container.secrets),
        *(one.config_id for one in container.configs),
        *(one.target for one in networks_of(spec)),
    }


def used_by(spec: ServiceSpec, snapshot: Snapshot) -> Sequence[Used]:
    """The objects that a spec names, each once.

    Raises:
        InvalidParameter: secrets or configs are not there, by id and name.
        NotFound: a network is not there.
    """
    return [*_documents(spec, snapshot), *_networks(spec, snapshot)]


def _documents(spec: ServiceSpec, snapshot: Snapshot) -> Iterator[Secret | Config]:
    container = container_of(spec)
    for word, names, objects in (
        ("secret", {one.secret_id: one.secret_name for one in container.secrets}, snapshot.secrets),
        ("config", {one.config_id: one.config_name for one in container.configs}, snapshot.configs),
    ):
        missing = _missing(names, objects)
        if missing:
            plural = "" if len(missing) == 1 else "s"
            raise invalid(f"{word}{plural} not found: {', '.join(missing)}")
        yield from (objects[id_] for id_ in names)


def _networks(spec: ServiceSpec, snapshot: Snapshot) -> Iterator[ClusterNetwork]:
    for id_ in dict.fromkeys(one.target for one in networks_of(spec)):
        if id_ not in snapshot.networks:
            raise NotFound(f"network {id_} not found")
        yield snapshot.networks[id_]


def _missing(names: Mapping[str, str], objects: Mapping[str, Secret | Config]) -> list[str]:
    return [
        name
        for id_, name in names.items()
        if (found := objects.get(id_)) is None or found.name != name
    ]
