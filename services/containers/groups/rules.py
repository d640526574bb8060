"""Who is in a group, in which order, and whom a failure concerns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.containers.container import Container
from services.containers.groups.labels import Membership, membership_of
from services.errors import InvalidParameter
from supervisor.otp.strategy import restarted_with


def membership(container: Container) -> Membership | None:
    """As `membership_of`; labels that an engine with other rules let through count as none."""
    try:
        return membership_of(container.definition.config.labels)
    except InvalidParameter:
        return None


def members(group: str, containers: Iterable[Container]) -> list[Container]:
    """All containers of a group in their order; those of the same order as they were made."""
    found = [
        (place.order, container.definition.created_at_ns, container)
        for container in containers
        if (place := membership(container)) is not None and place.group == group
    ]
    return [container for _, _, container in sorted(found, key=lambda entry: entry[:2])]


def concerned(
    failed: Container, place: Membership, containers: Iterable[Container]
) -> Sequence[Container]:
    """The others that are stopped and started with `failed`, in order. Source: OTP, supervisor."""
    group: dict[str, Container] = {one.id: one for one in members(place.group, containers)}
    ids = restarted_with(place.strategy, list(group), failed.id)
    return [group[one] for one in ids if one != failed.id]
