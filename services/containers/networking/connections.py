"""Connecting containers to networks, and disconnecting them, whether they run or not.

The record is what a container is in; `plugs` keeps it true while a link is made or deleted.

Source: moby, daemon/network.go (ConnectToNetwork, DisconnectFromNetwork).
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
import trio
from loguru import logger

from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.journal import Journal
from services.containers.model import State
from services.containers.networking.naming import Naming
from services.containers.networking.plugs import Plugs, without
from services.containers.networking.settings import check_endpoint, endpoint_request, named_request
from services.containers.spec.modes import shared_container
from services.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from services.networks import EndpointRequest, Network, Sandboxes
from services.networks.model import GATEWAY_BRIDGE
from services.networks.sandboxes.gateway import WayOut

log = logger.bind(service="containers")

SHARED: Final = (
    "container sharing network namespace with another container or host cannot be connected to any "
    "other network"
)


class Networks(Protocol):
    """What is needed of the networks service."""

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""


class Connector:
    """Changes which networks a container is in."""

    def __init__(
        self, *, journal: Journal, networks: Networks, sandboxes: Sandboxes, naming: Naming
    ) -> None:
        self._journal = journal
        self._networks = networks
        self._sandboxes = sandboxes
        self._naming = naming
        self._plugs = Plugs(journal=journal, sandboxes=sandboxes, naming=naming)

    async def connect(self, container: Container, ref: str, asked: EndpointSettings) -> None:
        """Have a container in one more network. Source: Engine API, NetworkConnect.

        Raises:
            NotFound: there is no such network.
            InvalidParameter: the two do not go together, or the settings cannot be had.
            Forbidden: it runs and is in that network, or an address is taken.
        """
        with trio.CancelScope(shield=True):  # a client that leaves must not leave half of it
            async with container.turn("its connection to a network"):
                if self._may_be_elsewhere(container, ref):
                    _refuse_dying(container)
                    await self._set_asked(container, ref, _only_asked(asked))
                    return
                request = await self._request(container, ref, asked)
                network = self._networks.find(request.network)
                _refuse_dying(container)
                if network.config_only:
                    raise Forbidden(
                        f"network {network.name} is a configuration network: no container can be "
                        "in it"
                    )
                _check_together(container, network)
                check_endpoint(network.name, asked, network)
                # Where the last one began, a new one has not: what came of it is not asked for.
                asked = _only_asked(asked)
                if not container.state.has_task:
                    await self._set_asked(container, network.name, asked)
                    return
                await self._plugs.finish(container)
                await self._plugs.plug_in(container, network, asked, request)
                await self._settle_way_out(container)

    async def disconnect(self, container: Container, ref: str, *, force: bool = False) -> None:
        """Have a container in a network no more. Source: Engine API, NetworkDisconnect.

        Raises:
            NotFound: there is no such network.
            InvalidParameter: it is in the host's.
            Conflict: it is not in that network. (dockerd's status is 500.)
        """
        with trio.CancelScope(shield=True):
            async with container.turn("its disconnection from a network"):
                name = self._name_of(container, ref, force=force)
                _refuse_dying(container)
                present = container.status.networks
                if name not in present and name not in container.definition.networks:
                    raise Conflict(f"container {container.id} is not connected to network {name}")
                if name == "host" and container.state.has_task:
                    raise InvalidParameter(
                        "cannot disconnect container from host network - container was created in "
                        "host network mode"
                    )
                if name in present and container.state.has_task:
                    await self._plugs.unplug(container, name)
                    await self._settle_way_out(container)
                else:
                    await self._set_asked(container, name, None)

    async def finish(self, container: Container) -> None:
        """As `Plugs.finish`; the container runs, and the caller has its turn."""
        await self._plugs.finish(container)

    async def try_again(self, container: Container) -> None:
        """Do for a container that runs what could not be done before, if nobody else is at it.

        That is `Plugs.finish`, and having it answered by the DNS. Never fails.
        """
        if container.is_busy or not (
            container.status.loose or self._naming.lacks_answers(container)
        ):
            return
        try:
            async with container.turn("another try at its networks"):
                if not container.state.has_task:
                    return
                await self._plugs.finish(container)
                if self._naming.lacks_answers(container):
                    namespace = self._sandboxes.namespace(container.id, container.status.pid)
                    await self._naming.answer(container, namespace)
        except EngineError as error:
            log.warning("networks not mended", container=container.id, error=str(error))

    # -- while it runs --------------------------------------------------------------------------

    async def _request(
        self, container: Container, ref: str, asked: EndpointSettings
    ) -> EndpointRequest:
        """What is asked of a network; of one that only the managers know, with what they give."""
        try:
            return named_request(self._networks.find(ref).id, container.definition, asked)
        except NotFound:
            if not container.state.has_task:
                raise
            request = named_request(ref, container.definition, asked)
            return await self._sandboxes.ask_place(container.id, request)

    def _may_be_elsewhere(self, container: Container, ref: str) -> bool:
        """Whether the managers may know a network that this node does not, and are not asked yet:
        they are when the container starts. As dockerd, which notes any name then."""
        if container.state.has_task or not self._sandboxes.has_managers:
            return False
        try:
            self._networks.find(ref)
        except NotFound:
            return True
        return False

    async def _settle_way_out(self, container: Container) -> None:
        """Who is in networks that span nodes, and in none that leads out, gets a link for that."""
        try:
            match self._sandboxes.way_out(container.id):
                case WayOut.LACKING:
                    bridge = self._networks.find(GATEWAY_BRIDGE)
                    nothing = EndpointSettings()
                    request = endpoint_request(bridge.id, nothing)
                    await self._plugs.plug_in(container, bridge, nothing, request, is_asked=False)
                case WayOut.NEEDLESS if GATEWAY_BRIDGE not in container.definition.networks:
                    await self._plugs.unplug(container, GATEWAY_BRIDGE)
                case WayOut.NEEDLESS | WayOut.RIGHT:
                    pass
        except EngineError as error:  # it is connected, or not, as was asked
            log.error("way out not settled", container=container.id, error=str(error))

    # -- while it does not ----------------------------------------------------------------------

    async def _set_asked(
        self, container: Container, name: str, asked: EndpointSettings | None
    ) -> None:
        networks = without(container.definition.networks, name)
        if asked is not None:
            if name in container.definition.networks:
                return  # as dockerd: what was asked for first holds
            networks[name] = asked
        definition = msgspec.structs.replace(container.definition, networks=networks)
        # Whoever connects it to another network of that name has not been in it.
        ids = without(container.status.network_ids, name)
        await self._journal.set_definition(container, definition, network_ids=ids)

    def _name_of(self, container: Container, ref: str, *, force: bool) -> str:
        """A network that is gone, or the managers', may stand in the record of a container."""
        try:
            return self._networks.find(ref).name
        except NotFound:
            if force or (self._sandboxes.has_managers and ref in container.definition.networks):
                return ref
            raise


def _refuse_dying(container: Container) -> None:
    if container.state in (State.REMOVING, State.DEAD):
        raise Conflict(
            f"Container {container.id} is marked for removal and cannot be connected or "
            "disconnected to the network"
        )


def _check_together(container: Container, network: Network) -> None:
    """Refuse networks that a container cannot be in besides those that it is in."""
    mode = container.definition.host_config.network_mode
    if shared_container(mode) is not None:
        raise InvalidParameter(SHARED)
    if network.driver == "host" and mode != "host":
        raise InvalidParameter(
            "cannot connect container to host network - container must be created in host network "
            "mode"
        )
    for name in container.definition.networks:
        if name == network.name:
            continue
        if name == "host" or network.driver == "host":
            raise InvalidParameter(SHARED)
        if name == "none" or network.driver == "null":
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in "
                "private (none) mode"
            )
    if container.definition.config.network_disabled is True:
        raise Conflict(f"container {container.name} was created without networking")


def _only_asked(settings: EndpointSettings) -> EndpointSettings:
    """Without what only the engine knows: clients send back what they were shown."""
    return EndpointSettings(
        ipam_config=settings.ipam_config,
        links=settings.links,
        aliases=settings.aliases,
        mac_address=settings.mac_address,
        driver_opts=settings.driver_opts,
        gw_priority=settings.gw_priority,
    )
