"""Generic resources: things that an operator says a node has, by number or by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.cluster.model.task_spec import (
    DiscreteGenericResource,
    GenericResource,
    NamedGenericResource,
)


def amounts(resources: Iterable[GenericResource]) -> dict[str, int]:
    """How many of each kind; a named one counts as one."""
    found: dict[str, int] = {}
    for resource in resources:
        if (named := resource.named_resource_spec) is not None:
            found[named.kind] = found.get(named.kind, 0) + 1
        elif (discrete := resource.discrete_resource_spec) is not None:
            found[discrete.kind] = found.get(discrete.kind, 0) + discrete.value
    return found


def claimed(
    wanted: Mapping[str, int],
    has: Iterable[GenericResource],
    taken: Iterable[GenericResource],
) -> list[GenericResource] | None:
    """What a task gets of what a node has; None where that is too little.

    Of a kind that has names the task gets names, which it finds in its environment.
    """
    names, numbers = _free(has, taken)
    claims: list[GenericResource] = []
    for kind, count in wanted.items():
        if kind in names:
            if len(names[kind]) < count:
                return None
            claims.extend(_named(kind, value) for value in sorted(names[kind])[:count])
        elif numbers.get(kind, 0) < count:
            return None
        else:
            claims.append(_discrete(kind, count))
    return claims


def _free(
    has: Iterable[GenericResource], taken: Iterable[GenericResource]
) -> tuple[dict[str, set[str]], dict[str, int]]:
    names: dict[str, set[str]] = {}
    numbers: dict[str, int] = {}
    for resource in has:
        if (named := resource.named_resource_spec) is not None:
            names.setdefault(named.kind, set()).add(named.value)
        elif (discrete := resource.discrete_resource_spec) is not None:
            numbers[discrete.kind] = numbers.get(discrete.kind, 0) + discrete.value
    for resource in taken:
        if (named := resource.named_resource_spec) is not None:
            names.get(named.kind, set()).discard(named.value)
        elif (discrete := resource.discrete_resource_spec) is not None:
            numbers[discrete.kind] = numbers.get(discrete.kind, 0) - discrete.value
    return names, numbers


def _named(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedGenericResource(kind=kind, value=value))


def _discrete(kind: str, value: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteGenericResource(kind=kind, value=value))
