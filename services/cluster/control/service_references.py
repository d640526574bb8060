"""Whether there is what the spec of a service refers to."""

from __future__ import annotations

from collections.abc import Mapping

from services.cluster.control.refusals import invalid
from services.cluster.control.service_changes import container_of
from services.cluster.model.objects import Config, Secret
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.specs import ServiceSpec


def check_references(spec: ServiceSpec, snapshot: Snapshot) -> None:
    """Whether the secrets and configs of a spec are there, by id and name.

    Raises:
        InvalidParameter: they are not.
    """
    container = container_of(spec)
    for word, names, objects in (
        ("secret", {one.secret_id: one.secret_name for one in container.secrets}, snapshot.secrets),
        ("config", {one.config_id: one.config_name for one in container.configs}, snapshot.configs),
    ):
        missing = _missing(names, objects)
        if missing:
            plural = "" if len(missing) == 1 else "s"
            raise invalid(f"{word}{plural} not found: {', '.join(missing)}")


def _missing(names: Mapping[str, str], objects: Mapping[str, Secret | Config]) -> list[str]:
    return [
        name
        for id_, name in names.items()
        if (found := objects.get(id_)) is None or found.name != name
    ]
