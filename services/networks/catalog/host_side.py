"""What networks have on the host: a link, and rules for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio
from loguru import logger

from services.errors import EngineError
from services.networks.drivers.bridge import HostSwitches, delete_link, make_bridge
from services.networks.drivers.ipvlan import why_no_ipvlan
from services.networks.drivers.overlay import drop_strays, make_overlay, unmake_overlay
from services.networks.drivers.parent import make_parent
from services.networks.firewall.firewall import Firewall
from services.networks.firewall.rules import rules_of
from services.networks.ipam.pools import Pool
from services.networks.kernel.host_links import host_routes, link_names
from services.networks.model import Network
from services.networks.overlay.values import DRIVER as OVERLAY
from services.networks.planning import ipvlan_options
from services.networks.planning.parents import DUMMY_PREFIXES

if TYPE_CHECKING:
    from services.networks.planning.request import NetworkRequest, Surroundings

_T = TypeVar("_T")

log = logger.bind(service="networks")


class HostSide:
    """Makes it and takes it away, by the network's driver. `firewall` None: there are no rules.

    In `overlays` the namespaces of overlay networks are held.
    """

    def __init__(
        self, *, firewall: Firewall | None, switches: HostSwitches, overlays: Path | None = None
    ) -> None:
        self._overlays = overlays
        self._firewall = firewall
        self._switches = switches
        self._threads = trio.CapacityLimiter(8)

    async def make(self, network: Network) -> None:
        """Have a network's link and rules. What is there already is kept.

        Raises:
            EngineError: the kernel or the firewall refused, or the link is another thing.
        """
        if network.config_only:
            return
        maker = partial(make_bridge, network, self._switches)
        if network.driver in DUMMY_PREFIXES:
            maker = partial(make_parent, network)
        elif network.driver == OVERLAY:
            maker = partial(make_overlay, network, self._overlay_directory())
        try:
            await self.in_thread(maker)
        except OSError as error:
            raise EngineError(
                f"failed to make the link of network {network.name}: {error.strerror or error}"
            ) from error
        if network.driver == "bridge" and self._firewall is not None:
            await self._firewall.set_network(rules_of(network))

    async def unmake(self, network: Network, *, is_shared: bool) -> None:
        """Take a network's rules away, and its link if that is ours and nobody else's.

        What cannot be now is told of, and left.
        """
        if network.config_only:
            return
        if network.driver == "bridge" and self._firewall is not None:
            await self._firewall.remove_network(network.link)
        remover: Callable[[], None] | None = None
        if network.driver == OVERLAY:
            remover = partial(unmake_overlay, network, self._overlay_directory())
        elif network.owns_link and not is_shared:
            remover = partial(delete_link, network.link)
        if remover is not None:
            try:
                await self.in_thread(remover)
            except OSError as error:
                log.warning("network's link not deleted", network=network.id, error=str(error))

    async def surroundings(
        self,
        request: NetworkRequest,
        *,
        present: Sequence[Network],
        pools: Sequence[Pool],
        default_options: Mapping[str, Mapping[str, str]],
    ) -> Surroundings:
        """What the plan of a new network has to go by, with what the host has of it now."""

        from services.networks.planning.request import Surroundings

        def look() -> Surroundings:
            why_not = ""
            if request.driver == "ipvlan":
                mode = request.options.get(ipvlan_options.MODE, "")
                why_not = why_no_ipvlan(ipvlan_options.MODES.get(mode, 0))
            return Surroundings(
                present=present,
                pools=pools,
                routes=host_routes(),
                default_options=default_options,
                links=link_names(),
                unusable_drivers={"ipvlan": why_not} if why_not else {},
            )

        return await self.in_thread(look)

    async def reclaim(self, known: Collection[str]) -> None:
        """Take away what is there of networks that span nodes and are not known here."""
        if self._overlays is not None:
            strays = await self.in_thread(partial(drop_strays, self._overlays, known))
            for network_id in strays:
                log.info("namespace of a network reclaimed", network=network_id)

    def _overlay_directory(self) -> Path:
        if self._overlays is None:
            raise EngineError("this engine has no place for networks that span nodes")
        return self._overlays

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """What a blocking call answers."""
        return await trio.to_thread.run_sync(call, limiter=self._threads)
