"""The ingress namespace: what comes to a published port of this node goes on from here.

It has the node's own address in the ingress network and a link in the bridge that leads out, as a
container would. It outlives the daemon, and connections through it do: what it has is on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError
from services.networks import (
    Endpoint,
    EndpointRequest,
    PublishedPort,
    Sandboxes,
)
from services.networks.kernel.netns import enter_namespace, write_sysctls
from services.networks.kernel.rtnetlink import link_index
from services.networks.model import Network
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX, IngressRecord, write_ingress

log = logger.bind(service="cluster")

_FORWARDS: Final = {"net/ipv4/ip_forward": "1"}


class IngressSandbox:
    """One for the engine. `record` is the file that tells the next daemon of it."""

    def __init__(self, *, sandboxes: Sandboxes, record: Path) -> None:
        self._sandboxes = sandboxes
        self._record = record
        self._remembered: IngressRecord | None = None  # what is in the file, if we wrote it

    @property
    def namespace(self) -> Path:
        """Where it is held."""
        return self._sandboxes.namespace(INGRESS_SANDBOX, 0)

    async def have(self, network: Network, address: str) -> Endpoint:
        """Have it, with this address in the ingress network; what it leaves by.

        Raises:
            EngineError: an address is taken, or the kernel refused.
        """
        endpoints = self._sandboxes.endpoints(INGRESS_SANDBOX)
        if not await self._fits(endpoints, network, address):
            await self.drop()
            request = EndpointRequest(network=network.id, address=address, is_given=True)
            sandbox = await self._sandboxes.reserve(INGRESS_SANDBOX, [request])
            try:
                await self._sandboxes.connect(sandbox)
                prepare = partial(write_sysctls, self.namespace, _FORWARDS)
                await trio.to_thread.run_sync(prepare)
                endpoints = sandbox.endpoints
                await self.remember({})
            except BaseException as error:
                with trio.CancelScope(shield=True):
                    await self.drop()
                if isinstance(error, OSError):
                    raise EngineError(f"the ingress namespace cannot be made: {error}") from error
                raise
            log.info("ingress namespace made", address=address)
        return next(endpoint for endpoint in endpoints if endpoint.is_way_out_only)

    async def is_whole(self) -> bool:
        """Whether all links of the namespace are there; also when it is not wanted."""
        endpoints = self._sandboxes.endpoints(INGRESS_SANDBOX)
        return not endpoints or await trio.to_thread.run_sync(_has_links, self.namespace, endpoints)

    async def remember(self, ports: dict[str, tuple[PublishedPort, ...]]) -> None:
        """Have the next daemon know it, with these ports that lead to it, by their owners.

        Raises:
            OSError: it cannot be written.
        """
        endpoints = tuple(self._sandboxes.endpoints(INGRESS_SANDBOX))
        record = IngressRecord(endpoints=endpoints, ports=ports)
        if record != self._remembered:
            await trio.to_thread.run_sync(write_ingress, self._record, record)
            self._remembered = record

    async def drop(self) -> None:
        """Have it no more; gone already is fine."""
        self._remembered = None
        await trio.to_thread.run_sync(partial(self._record.unlink, missing_ok=True))
        await self._sandboxes.release(INGRESS_SANDBOX)

    async def _fits(self, endpoints: Sequence[Endpoint], network: Network, address: str) -> bool:
        places = {endpoint.network_id: endpoint.address for endpoint in endpoints}
        if places.get(network.id) != address or not any(e.is_way_out_only for e in endpoints):
            return False
        return await trio.to_thread.run_sync(_has_links, self.namespace, endpoints)


def _has_links(namespace: Path, endpoints: Sequence[Endpoint]) -> bool:
    inside = enter_namespace(namespace)
    if inside is None:
        return False
    with inside:
        return all(link_index(inside, endpoint.interface) for endpoint in endpoints)
