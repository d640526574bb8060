"""The way out of containers whose networks span nodes: a local bridge that they all stand in. Pure.

An overlay network leads to other nodes and nowhere else. A container in one that is not internal
gets a link in this bridge besides, unless another of its networks leads out. Nobody has a name
there, and its containers do not reach each other by it.

Source: moby, daemon/libnetwork/default_gateway.go (needDefaultGW, createGWNetwork).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING

from services.networks import model
from services.networks.endpoints import Endpoint
from services.networks.model import GATEWAY_BRIDGE, Network
from services.networks.overlay.values import DRIVER

if TYPE_CHECKING:
    from services.networks.planning.request import NetworkRequest


class WayOut(enum.Enum):
    """Whether a container has a link in that bridge when it is to have one."""

    RIGHT = "right"
    LACKING = "lacking"
    NEEDLESS = "needless"


def gateway_request(link: str = GATEWAY_BRIDGE) -> NetworkRequest:
    """The network, on a bridge of this name."""
    from services.networks.planning.request import NetworkRequest

    return NetworkRequest(
        name=GATEWAY_BRIDGE,
        options={
            model.BRIDGE_NAME: link,
            model.ENABLE_ICC: "false",
            model.ENABLE_MASQUERADE: "true",
        },
    )


def needs_gateway(networks: Iterable[Network], endpoints: Iterable[Endpoint]) -> bool:
    """Whether a container in these networks gets a link for its way out."""
    wants_out = any(n.driver == DRIVER and not n.internal for n in networks)
    return wants_out and not any(e.gateway or e.gateway6 for e in endpoints)
