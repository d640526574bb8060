"""Which networks cannot be removed, in dockerd's words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from services.errors import Forbidden
from services.networks.model import Network


def check_removable(
    network: Network,
    *,
    others: Iterable[Network],
    members: Mapping[str, str],
    container_name: Callable[[str], str],
) -> None:
    """Refuse what clients may not remove. `members` are its endpoints, each with its container.

    Raises:
        Forbidden: it is predefined, the cluster's, or in use.
    """
    if network.is_predefined:
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
    if network.is_of_cluster:
        raise Forbidden(f"network {network.name} is the cluster's: remove it on a manager")
    if network.config_only and any(other.config_from == network.name for other in others):
        raise Forbidden(
            f'error while removing network: configuration network "{network.name}" is in use'
        )
    if members:
        shown = ", ".join(
            sorted(
                f'name:"{container_name(container)}" id:"{endpoint[:12]}"'
                for endpoint, container in members.items()
            )
        )
        raise Forbidden(
            f"error while removing network: network {network.name} has active endpoints ({shown})"
        )
