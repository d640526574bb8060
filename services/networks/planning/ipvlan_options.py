"""The options of networks of the ipvlan driver, and the rules for their parents. Pure.

Source: moby, daemon/libnetwork/drivers/ipvlan (ipvlan_network.go, ipvlan_joinleave.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.errors import EngineError, InvalidParameter
from services.networks.model import Network
from services.networks.planning.parents import named_parent, own_parent

MODE: Final = "ipvlan_mode"
MODES: Final = MappingProxyType({"l2": 0, "l3": 1, "l3s": 2})
FLAG: Final = "ipvlan_flag"
FLAGS: Final = MappingProxyType({"bridge": 0, "private": 1, "vepa": 2})
"""The kernel's numbers (linux/if_link.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvlanOptions:
    """`parent` "" has none: the network leads nowhere else."""

    parent: str = ""
    mode: str = "l2"
    flag: str = "bridge"

    @property
    def is_routed(self) -> bool:
        """Whether the parent's host routes for the containers: there is no gateway to send to."""
        return self.mode != "l2"


def parse_ipvlan_options(options: Mapping[str, str]) -> IpvlanOptions:
    """Read the options; those of other drivers are passed over.

    Raises:
        InvalidParameter: a mode, a flag or a parent that cannot be.
    """
    mode, flag = options.get(MODE, "") or "l2", options.get(FLAG, "") or "bridge"
    if mode not in MODES:
        raise InvalidParameter(
            f"requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default"
        )
    if flag not in FLAGS:
        raise InvalidParameter(
            f"requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
        )
    return IpvlanOptions(parent=named_parent(options, "ipvlan"), mode=mode, flag=flag)


def check_alone(parent: str, present: Iterable[Network]) -> None:
    """A parent has one mode, so it is one network's alone.

    Raises:
        EngineError: another network has it; dockerd's text.
    """
    for network in present:
        if network.driver == "ipvlan" and network.link == parent:
            raise EngineError(
                f"network {own_parent('ipvlan', network.id)} is already using parent interface "
                f"{parent}"
            )
