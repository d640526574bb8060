"""Links of containers that run, each with its record: made, taken away, and tried again.

Before a link is made, and until one is deleted, the endpoint stands in the status as loose:
whatever becomes of the daemon, the next one takes that link away. A link that the kernel will not
give up now stays loose as well, with its address and its membership, and is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from loguru import logger

from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.journal import Journal, network_events
from services.containers.model import LooseEndpoint, Place
from services.containers.networking.naming import Naming
from services.containers.networking.published import wanted_ports
from services.containers.networking.settings import endpoint_of, place_of, settings_of
from services.errors import EngineError, Forbidden
from services.networks import Endpoint, EndpointRequest, Network, Sandboxes

log = logger.bind(service="containers")


class Plugs:
    """Plugs containers in and out. The caller has the container's turn, and it runs."""

    def __init__(self, *, journal: Journal, sandboxes: Sandboxes, naming: Naming) -> None:
        self._journal = journal
        self._sandboxes = sandboxes
        self._naming = naming

    async def plug_in(
        self,
        container: Container,
        network: Network,
        asked: EndpointSettings,
        request: EndpointRequest,
        *,
        is_asked: bool = True,
    ) -> None:
        """Have a container in one more network. `is_asked`: its next start is to be in it too.

        Raises:
            Forbidden: it is in that network, or an address is taken.
            EngineError: the kernel refused; what could not be undone stays loose.
        """
        there = Forbidden(
            f"endpoint with name {container.name} already exists in network {network.name}"
        )
        if any(one.settings.network_id == network.id for one in container.status.loose.values()):
            raise there
        try:
            endpoint = await self._sandboxes.reserve_one(container.id, request)
        except Forbidden as error:
            if "already exists" in str(error):
                raise there from error
            raise
        settings = settings_of(asked, endpoint)
        try:
            await self._journal.change_status(
                container, loose=_with_loose(container, endpoint, settings)
            )
            await self._sandboxes.plug_in(container.id, endpoint, pid=container.status.pid)
            await self._record_connect(container, endpoint, asked if is_asked else None, settings)
        except BaseException:
            await self._undo_plug_in(container, endpoint)
            raise
        namespace = self._sandboxes.namespace(container.id, container.status.pid)
        await self._naming.connected(container, endpoint, namespace)
        await self._settle_ports(container)
        log.info("container connected", container=container.id, network=network.id)

    async def unplug(self, container: Container, name: str) -> None:
        """Have a container in a network (by name) no more.

        Raises:
            EngineError: the kernel will not give the link up now; it stays loose.
        """
        status = container.status
        settings, place = status.networks[name], status.places.get(name, Place())
        endpoint = endpoint_of(name, settings, place)
        definition = msgspec.structs.replace(
            container.definition, networks=without(container.definition.networks, name)
        )
        await self._journal.set_definition(
            container,
            definition,
            *network_events(
                container, {name: settings}, {name: place}, "disconnect", time_ns=time.time_ns()
            ),
            networks=without(status.networks, name),
            places=without(status.places, name),
            loose=_with_loose(container, endpoint, settings),
        )
        await self._naming.disconnected(container, endpoint)
        await self._sandboxes.unplug(container.id, endpoint, pid=status.pid)
        await self._settle_ports(
            container, loose=without(container.status.loose, endpoint.endpoint_id)
        )
        log.info("container disconnected", container=container.id, network=endpoint.network_id)

    async def finish(self, container: Container) -> None:
        """Take away the links that could not be before, or that an earlier daemon was cut off at.

        What cannot be taken away stays loose.
        """
        status = container.status
        left = status.loose
        for endpoint_id, loose in status.loose.items():
            endpoint = endpoint_of(loose.network, loose.settings, loose.place)
            try:
                await self._naming.disconnected(container, endpoint)
                await self._sandboxes.unplug(container.id, endpoint, pid=status.pid)
            except EngineError as error:
                log.error("link not reclaimed", container=container.id, error=str(error))
            else:
                left = without(left, endpoint_id)
        if left != status.loose:
            await self._settle_ports(container, loose=left)

    async def _record_connect(
        self,
        container: Container,
        endpoint: Endpoint,
        asked: EndpointSettings | None,
        settings: EndpointSettings,
    ) -> None:
        status, name = container.status, endpoint.network
        wanted = container.definition.networks
        if asked is not None:
            wanted = {**wanted, name: asked}
        places = {name: place_of(endpoint)}
        now_ns = time.time_ns()
        await self._journal.set_definition(
            container,
            msgspec.structs.replace(container.definition, networks=wanted),
            *network_events(container, {name: settings}, places, "connect", time_ns=now_ns),
            networks={**status.networks, name: settings},
            places={**status.places, **places},
            loose=without(status.loose, endpoint.endpoint_id),
        )

    async def _undo_plug_in(self, container: Container, endpoint: Endpoint) -> None:
        """What cannot be undone now is tried again: the endpoint stands there as loose."""
        try:
            await self._sandboxes.unplug(container.id, endpoint, pid=container.status.pid)
        except EngineError as error:
            log.error("link not reclaimed", container=container.id, error=str(error))
            if endpoint.endpoint_id not in container.status.loose:  # so no link was made
                self._sandboxes.cancel(container.id, endpoint)
            return
        loose = without(container.status.loose, endpoint.endpoint_id)
        if loose != container.status.loose:
            try:
                await self._journal.change_status(container, loose=loose)
            except EngineError as error:
                log.error("record not written", container=container.id, error=str(error))

    async def _settle_ports(self, container: Container, **changes: Any) -> None:
        """Ports lead to what is the way out now; the record says which ones there are."""
        try:
            ports = await self._sandboxes.follow_ports(
                container.id, wanted_ports(container.definition), name=container.name
            )
        except EngineError as error:  # the container runs on, without them
            log.error("ports not published", container=container.id, error=str(error))
            ports = self._sandboxes.ports(container.id)
        if list(ports) != container.status.ports:
            changes["ports"] = list(ports)
        if changes:
            await self._journal.change_status(container, **changes)


def _with_loose(
    container: Container, endpoint: Endpoint, settings: EndpointSettings
) -> dict[str, LooseEndpoint]:
    loose = LooseEndpoint(network=endpoint.network, settings=settings, place=place_of(endpoint))
    return {**container.status.loose, endpoint.endpoint_id: loose}


def without(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The same without one of them."""
    return {name: value for name, value in values.items() if name != key}
