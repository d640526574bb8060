"""GET /containers/json: which containers, in which order, each encoded once until it changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from services.api.query import Query
from services.api.types.containers import (
    health_status,
    now_ns,
    status_text,
    summary_to_wire,
)
from services.api.version import CURRENT, ApiVersion
from services.containers import Container, ContainerTable, State
from services.containers.published import bound_ports, exposed_ports
from services.containers.sizes import Size
from services.errors import InvalidParameter
from services.networks.ports import ports_of_range

KNOWN_FILTERS: Final = frozenset(
    {
        "ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task",
        "isolation", "label", "name", "network", "publish", "since", "status", "volume",
    }
)  # fmt: skip

HEALTH_STATES: Final = frozenset({"none", "starting", "healthy", "unhealthy"})

NO_SIZES: Final[Mapping[str, Size]] = MappingProxyType({})

Filters = Mapping[str, tuple[str, ...]]
Matcher = Callable[[Container, str], bool]
ImageNames = Callable[[Container], frozenset[str]]
"""What an `ancestor` filter may call a container's image: its names and ids."""
_Shown = tuple[int, str, str, tuple[str, ...], ApiVersion]
"""What an encoded element was made from."""


class ContainerList:
    """Answers list requests from memory."""

    def __init__(
        self,
        table: ContainerTable,
        *,
        image_name: Callable[[Container], str],
        image_names: ImageNames,
    ) -> None:
        self._table = table
        self._image_name = image_name
        self._image_names = image_names
        self._encoded: dict[str, tuple[_Shown, bytes]] = {}
        self._matchers: dict[str, Matcher] = {
            "id": lambda c, v: c.id.startswith(v),
            "name": _has_name,
            "status": lambda c, v: c.state.value == v,
            "exited": lambda c, v: c.state is State.EXITED and c.status.exit_code == int(v),
            "ancestor": lambda c, v: v in self._image_names(c),
            "network": _has_network,
            "volume": _has_volume,
            "health": lambda c, v: v == health_status(c),
            "is-task": lambda _, v: v.lower() in ("false", "0"),
            "publish": lambda c, v: _is_among(v, bound_ports(c)),
            "expose": lambda c, v: _is_among(v, exposed_ports(c)),
            "isolation": lambda _, v: v in ("", "default"),
        }

    def answer(self, query: Query, version: ApiVersion = CURRENT) -> bytes:
        """As `choose` and `encode`."""
        return self.encode(self.choose(query), version=version)

    def choose(self, query: Query) -> list[Container]:
        """The containers that a request asks for, newest first.

        Raises:
            InvalidParameter: an unknown filter or an impossible value.
            NotFound: `before` or `since` name no container.
        """
        filters = query.filters()
        self._check(filters)
        limit = query.integer("limit")
        show_all = query.boolean("all") or limit > 0 or "status" in filters or "exited" in filters
        chosen = [c for c in self._newest_first(filters) if show_all or c.is_running]
        chosen = [c for c in chosen if self._matches(c, filters)]
        return chosen[:limit] if limit > 0 else chosen

    def encode(
        self,
        chosen: Iterable[Container],
        sizes: Mapping[str, Size] = NO_SIZES,
        *,
        version: ApiVersion = CURRENT,
    ) -> bytes:
        """The whole JSON answer; `sizes` by container id, of those that have one to show."""
        now = now_ns()
        parts = [
            self._encode(container, now, version, sizes.get(container.id)) for container in chosen
        ]
        return b"[" + b",".join(parts) + b"]\n"

    def _check(self, filters: Filters) -> None:
        for name in filters:
            if name not in KNOWN_FILTERS:
                raise InvalidParameter(f"invalid filter '{name}'")
        for value in filters.get("status", ()):
            if value not in set(State):
                raise InvalidParameter(
                    f'invalid value for filter "status": invalid value "{value}"'
                )
        for value in filters.get("health", ()):
            if value not in HEALTH_STATES:
                raise InvalidParameter(f"unrecognized filter value for health: {value}")
        for value in filters.get("is-task", ()):
            if value.lower() not in ("true", "false", "0", "1"):
                raise InvalidParameter(f"invalid filter 'is-task=[{value}]'")
        for name in ("publish", "expose"):
            for value in filters.get(name, ()):
                _check_port_filter(name, value)
        for value in filters.get("exited", ()):
            if not re.match(r"-?\d{1,9}\Z", value):
                raise InvalidParameter(f"invalid filter 'exited={value}'")

    def _newest_first(self, filters: Filters) -> list[Container]:
        containers = sorted(self._table, key=lambda c: c.definition.created_at_ns, reverse=True)
        for ref in filters.get("before", ()):
            limit = self._table.find(ref).definition.created_at_ns
            containers = [c for c in containers if c.definition.created_at_ns < limit]
        for ref in filters.get("since", ()):
            limit = self._table.find(ref).definition.created_at_ns
            containers = [c for c in containers if c.definition.created_at_ns > limit]
        return containers

    def _matches(self, container: Container, filters: Filters) -> bool:
        """All filters must hold; of one filter's values any, but of labels every one.

        So of annotations.
        """
        for name, values in filters.items():
            if name in _ALL_VALUES:
                if not all(_ALL_VALUES[name](container, value) for value in values):
                    return False
            elif name in self._matchers and values:
                matches = self._matchers[name]
                if not any(matches(container, value) for value in values):
                    return False
        return True

    def _encode(
        self, container: Container, now: int, version: ApiVersion, size: Size | None
    ) -> bytes:
        data = self._encoded_since(container, now, version)
        if size is None:
            return data
        members = b',"SizeRw":%d,"SizeRootFs":%d}' % (size.written_bytes, size.total_bytes)
        return data[:-1] + members

    def _encoded_since(self, container: Container, now: int, version: ApiVersion) -> bytes:
        """The element without a size, encoded again only when it is not what it was."""
        status, image = status_text(container, now), self._image_name(container)
        links = self._table.link_names_of(container)
        kept = self._encoded.get(container.id)
        key = (container.revision, status, image, links, version)
        if kept is not None and kept[0] == key:
            return kept[1]
        wire = summary_to_wire(
            container, status=status, image=image, link_names=links, version=version
        )
        data = msgspec.json.encode(wire)
        self._forget_removed()
        self._encoded[container.id] = (key, data)
        return data

    def _forget_removed(self) -> None:
        if len(self._encoded) > 2 * len(self._table) + 16:
            self._encoded = {i: v for i, v in self._encoded.items() if self._table.get(i)}


def _has_name(container: Container, pattern: str) -> bool:
    """A regular expression, with or without Docker's slash before the name."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InvalidParameter(f"invalid filter 'name={pattern}': {error}") from None
    return any(expression.search(name) for name in (container.name, f"/{container.name}"))


def _has_label(container: Container, wanted: str) -> bool:
    return _has_pair(container.definition.config.labels, wanted)


def _has_annotation(container: Container, wanted: str) -> bool:
    annotations = container.definition.host_config.annotations
    return annotations is not msgspec.UNSET and _has_pair(annotations or {}, wanted)


def _has_pair(pairs: Mapping[str, str], wanted: str) -> bool:
    """ "key" or "key=value"."""
    key, has_value, value = wanted.partition("=")
    return key in pairs and (not has_value or pairs[key] == value)


_ALL_VALUES: Final[Mapping[str, Matcher]] = MappingProxyType(
    {"label": _has_label, "annotation": _has_annotation}
)


def _has_network(container: Container, wanted: str) -> bool:
    definition, status = container.definition, container.status
    networks = {**definition.networks, **status.networks}
    return wanted in networks or any(e.network_id.startswith(wanted) for e in networks.values())


def _has_volume(container: Container, wanted: str) -> bool:
    return any(wanted in (m.name, m.destination) for m in container.definition.mounts)


def _check_port_filter(name: str, value: str) -> None:
    """Source: moby, daemon/list.go, portOp."""
    if ":" in value:
        raise InvalidParameter(f"filter for '{name}' should not contain ':': {value}")
    try:
        ports_of_range(value)
    except InvalidParameter as error:
        raise InvalidParameter(f"error while looking up for {name} {value}: {error}") from error


def _is_among(wanted: str, ports: Iterable[str]) -> bool:
    """Whether one of the ports is `80`, `80/udp` or among `8000-8010/tcp`."""
    return not set(ports_of_range(wanted)).isdisjoint(ports)
