"""The `filters` of GET /containers/json: which containers pass.

Several filters must all hold; of one filter's values any, but of labels and annotations every one.

Source: Engine API, ContainerList; moby, daemon/list.go. Where dockerd answers a bad value with 500,
the answer here is 400, in its words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from services.api.filters.patterns import Pattern
from services.api.filters.port_ranges import port_range
from services.api.types.container_networks import summary_ports
from services.api.types.containers import health_status
from services.api.wire.query import parse_integer
from services.containers import Container, State
from services.containers.labels import task_id_of
from services.containers.networking.settings import networks_in_sight
from services.errors import EngineError, InvalidParameter
from services.matching import has_labels

KNOWN: Final = frozenset(
    {
        "ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task",
        "isolation", "label", "name", "network", "publish", "since", "status", "volume",
    }
)  # fmt: skip

HEALTH_STATES: Final = frozenset({"none", "starting", "healthy", "unhealthy"})

Filters = Mapping[str, Sequence[str]]
Test = Callable[[Container], bool]


class Table(Protocol):
    """Finds containers as a client names them."""

    def find(self, ref: str) -> Container:
        """Raises NotFound or InvalidParameter."""

    def link_names_of(self, container: Container) -> Sequence[str]:
        """The names that others' links give it, with their slashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFilters:
    """What a list request's filters mean, checked.

    Attributes:
        tests: what a container has to pass.
        shows_all: whether they ask for containers that do not run, too.
    """

    tests: tuple[Test, ...]
    shows_all: bool

    def choose(self, container: Container) -> bool:
        """Whether it passes all of them."""
        return all(test(container) for test in self.tests)


def container_filters(
    filters: Filters, *, table: Table, family: Collection[str] = ()
) -> ContainerFilters:
    """Read the parsed parameter. `family`: the ids of the images that `ancestor` means.

    Raises:
        InvalidParameter: an unknown filter or an impossible value.
        NotFound: `before` or `since` name no container.
    """
    for name in filters:
        if name not in KNOWN:
            raise InvalidParameter(f"invalid filter '{name}'")
    makers: dict[str, Callable[[Sequence[str]], Test]] = {
        "annotation": lambda values: lambda c: has_labels(_annotations(c), values),
        "ancestor": lambda _: lambda c: c.definition.image_id in family,
        "before": lambda refs: _before(table, refs),
        "exited": _exited,
        "expose": lambda values: _on_ports("expose", values, "PrivatePort"),
        "health": _health,
        "id": lambda refs: _ids(table, refs),
        "is-task": _is_task,
        "isolation": lambda _: lambda _c: True,  # dockerd looks at it on Windows only
        "label": lambda values: lambda c: has_labels(c.definition.config.labels, values),
        "name": lambda values: _names(table, values),
        "network": lambda values: lambda c: any(_has_network(c, value) for value in values),
        "publish": lambda values: _on_ports("publish", values, "PublicPort"),
        "since": lambda refs: _since(table, refs),
        "status": _status,
        "volume": lambda values: lambda c: not _volumes(c).isdisjoint(values),
    }
    given = {name: values for name, values in filters.items() if values}
    return ContainerFilters(
        tests=tuple(makers[name](values) for name, values in given.items()),
        shows_all="status" in given,
    )


def _before(table: Table, refs: Iterable[str]) -> Test:
    limit = min(table.find(ref).definition.created_at_ns for ref in refs)
    return lambda c: c.definition.created_at_ns < limit


def _since(table: Table, refs: Iterable[str]) -> Test:
    limit = max(table.find(ref).definition.created_at_ns for ref in refs)
    return lambda c: c.definition.created_at_ns > limit


def _exited(values: Iterable[str]) -> Test:
    codes = frozenset(parse_integer(value) for value in values)
    return lambda c: c.state is State.EXITED and c.status.exit_code in codes


def _health(values: Sequence[str]) -> Test:
    for value in values:
        if value not in HEALTH_STATES:
            raise InvalidParameter(f"unrecognized filter value for health: {value}")
    return lambda c: health_status(c) in values


def _status(values: Sequence[str]) -> Test:
    for value in values:
        if value not in set(State):
            raise InvalidParameter(f'invalid value for filter "status": invalid value "{value}"')
    return lambda c: c.state.value in values


def _is_task(values: Sequence[str]) -> Test:
    wants = "true" in values or "1" in values
    refuses = "false" in values or "0" in values
    if wants == refuses:
        raise InvalidParameter(f"invalid filter 'is-task=[{' '.join(values)}]'")
    return lambda c: bool(task_id_of(c.name, c.definition.config.labels)) is wants


def _ids(table: Table, refs: Iterable[str]) -> Test:
    """Those that the values are a beginning of; one that fits none or several is nobody's."""
    found = set()
    for ref in refs:
        try:
            container = table.find(ref)
        except EngineError:
            continue
        if container.id.startswith(ref):
            found.add(container.id)
    return lambda c: c.id in found


def _names(table: Table, values: Iterable[str]) -> Test:
    """Regular expressions, with or without Docker's slash before the name."""
    patterns = [Pattern(value) for value in values]

    def test(container: Container) -> bool:
        names = (f"/{container.name}", *table.link_names_of(container))
        return any(
            pattern.matches(name) or pattern.matches(name.removeprefix("/"))
            for pattern in patterns
            for name in names
        )

    return test


def _annotations(container: Container) -> Mapping[str, str]:
    annotations = container.definition.host_config.annotations
    return {} if annotations is msgspec.UNSET else annotations or {}


def _has_network(container: Container, wanted: str) -> bool:
    networks = networks_in_sight(container.definition, container.status)
    if wanted in networks:
        return True
    ids = (settings.network_id for settings in networks.values())
    return any(id_.startswith(wanted) for id_ in ids if id_)


def _volumes(container: Container) -> frozenset[str]:
    """What its mounts are called: where they stand inside, and the volume or the folder outside."""
    return frozenset(
        name
        for mount in container.definition.mounts
        for name in (mount.destination, mount.name or mount.source)
    )


def _on_ports(name: str, values: Iterable[str], side: str) -> Test:
    ranges = [port_range(name, value) for value in values]

    def test(container: Container) -> bool:
        return any(
            port["Type"] == protocol and port.get(side, 0) in numbers
            for port in summary_ports(container)
            for protocol, numbers in ranges
        )

    return test
