"""Which containers each container needs: they start before it, and stop after it.

By whose namespaces it joins (`--network container:`), its links, `--volumes-from`, the earlier
members of its group, and what docker compose's label says of its services.

Source of the label: docker/compose, pkg/api (labels.go) and pkg/compose (create.go): entries of
service:condition:restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from services.containers.container import Container
from services.containers.groups import membership
from services.containers.joining import needed_ids

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_DEPENDS_ON: Final = "com.docker.compose.depends_on"


class Needs:
    """A look at all containers at one moment: made in one pass, then asked at little cost."""

    def __init__(self, containers: Iterable[Container]) -> None:
        self._refs: dict[str, str] = {}
        self._services: dict[tuple[str, str], list[str]] = {}
        self._groups: dict[str, list[tuple[int, str]]] = {}
        for container in containers:
            self._note(container)

    def of(self, container: Container) -> frozenset[str]:
        """The ids of those that it needs; some may be gone."""
        found = {*needed_ids(container), *self._volumes_from(container), *self._earlier(container)}
        found.update(self._services_of(container))
        return frozenset(found - {container.id})

    def _note(self, container: Container) -> None:
        self._refs[container.id] = self._refs[container.name] = container.id
        labels = container.definition.config.labels or {}
        if _SERVICE in labels:
            key = labels.get(_PROJECT, ""), labels[_SERVICE]
            self._services.setdefault(key, []).append(container.id)
        place = membership(container)
        if place is not None:
            self._groups.setdefault(place.group, []).append((place.order, container.id))

    def _volumes_from(self, container: Container) -> Iterator[str]:
        for entry in container.definition.host_config.volumes_from or ():
            ref = entry.partition(":")[0].removeprefix("/")
            found = self._refs.get(ref)
            yield found or next((one for one in self._refs.values() if one.startswith(ref)), ref)

    def _earlier(self, container: Container) -> Iterator[str]:
        place = membership(container)
        if place is not None:
            for order, container_id in self._groups.get(place.group, ()):
                if order < place.order:
                    yield container_id

    def _services_of(self, container: Container) -> Iterator[str]:
        labels = container.definition.config.labels or {}
        for entry in labels.get(_DEPENDS_ON, "").split(","):
            service = entry.partition(":")[0].strip()
            if service:
                yield from self._services.get((labels.get(_PROJECT, ""), service), ())
