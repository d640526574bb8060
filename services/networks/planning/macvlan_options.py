"""The options of networks of the macvlan driver, and the rules for their parents. Pure.

Source: moby, daemon/libnetwork/drivers/macvlan (macvlan_network.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.errors import EngineError, InvalidParameter
from services.networks.model import Network
from services.networks.planning.parents import named_parent

MODE: Final = "macvlan_mode"
MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
"""The kernel's numbers (linux/if_link.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacvlanOptions:
    """`parent` "" has none: the network leads nowhere else."""

    parent: str = ""
    mode: str = "bridge"


def parse_macvlan_options(options: Mapping[str, str]) -> MacvlanOptions:
    """Read the options; those of other drivers are passed over.

    Raises:
        InvalidParameter: a mode or a parent that cannot be.
    """
    mode = options.get(MODE, "") or "bridge"
    if mode not in MODES:
        raise InvalidParameter(
            f"requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver "
            "default"
        )
    return MacvlanOptions(parent=named_parent(options, "macvlan"), mode=mode)


def check_sharing(parent: str, mode: str, present: Iterable[Network]) -> None:
    """Passthru gives the parent to one network alone.

    Raises:
        EngineError: it cannot be shared so; dockerd's text.
    """
    for network in present:
        if network.driver != "macvlan" or network.link != parent:
            continue
        if mode == "passthru":
            raise EngineError(
                f"cannot use mode passthru, macvlan network {network.id} is already using parent "
                f"interface {parent}"
            )
        if parse_macvlan_options(network.options).mode == "passthru":
            raise EngineError(
                f"macvlan network {network.id} is already using parent interface {parent} in mode "
                "passthru"
            )
