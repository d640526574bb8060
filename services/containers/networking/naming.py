"""Containers found by their names, and finding others: DNS, hosts and resolv.conf while they run.

In the DNS is who runs, in each network under the names that it has there. A container that is in a
user-defined network asks the engine's server; it begins to when it is connected to its first one.

Source: moby, daemon/libnetwork/sandbox_dns_unix.go, endpoint.go (sbJoin), resolver.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

import trio
from loguru import logger

from services.containers.config import EndpointSettings, HostConfig
from services.containers.container import Container
from services.containers.files import is_untouched, own_names, write_resolv_conf
from services.containers.networking.hosts_file import HostsFiles
from services.containers.networking.links import parse_link
from services.containers.networking.resolv_conf import (
    Place,
    ResolvConf,
    Wishes,
    read_host_file,
    resolv_conf,
)
from services.containers.networking.settings import PREDEFINED, dns_names, endpoints_of
from services.errors import EngineError
from services.networks import Endpoint
from services.networks.dns import NamedEndpoint, Resolver

log = logger.bind(service="containers")


class NameBook(Protocol):
    """What is needed of the names."""

    def put(self, network_id: str, endpoint: NamedEndpoint) -> None:
        """A container is in a network under these names."""

    def remove(self, network_id: str, container_id: str) -> None:
        """It has left it."""

    def forget(self, container_id: str) -> None:
        """It is in no network any more."""


class Dns(Protocol):
    """What is needed of the DNS."""

    @property
    def names(self) -> NameBook:
        """Who is called what."""

    @property
    def served(self) -> frozenset[str]:
        """The containers that are answered."""

    async def serve(
        self,
        container_id: str,
        namespace: Path,
        *,
        resolvers: Sequence[Resolver],
        keeps_short_names: bool = False,
    ) -> None:
        """Answer a container. Raises EngineError."""

    def stop(self, container_id: str) -> None:
        """Answer it no more."""


class ResolvConfs:
    """What containers' resolv.conf says. `daemon`'s wishes now are for those that have none."""

    def __init__(self, daemon: Callable[[], Wishes]) -> None:
        self._daemon = daemon

    def of(self, host: HostConfig, endpoints: Iterable[Endpoint]) -> ResolvConf:
        """The file of a container that is in these networks. Blocks."""
        endpoints = tuple(endpoints)
        place = _place(endpoints)
        usual = self._daemon()
        wishes = Wishes(
            servers=host.dns or usual.servers,
            searches=host.dns_search or usual.searches,
            options=host.dns_options or usual.options,
        )
        ipv6 = any(endpoint.address6 for endpoint in endpoints)
        return resolv_conf(read_host_file(for_host=place is Place.HOST), wishes, place, ipv6=ipv6)


class Naming:
    """Keeps the names of running containers."""

    def __init__(
        self,
        *,
        dns: Dns,
        hosts: HostsFiles,
        resolv_confs: ResolvConfs,
        directory: Path,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._dns = dns
        self._hosts = hosts
        self._resolv_confs = resolv_confs
        self._directory = directory
        self._disk = disk

    async def begin(
        self, container: Container, endpoints: Sequence[Endpoint], namespace: Path | None
    ) -> None:
        """A container is about to run in these networks. Without a namespace it has no names.

        One that cannot be answered in its namespace starts all the same, as under dockerd; see
        `answer`.
        """
        if namespace is None:
            return
        for endpoint in endpoints:
            self._put(container, endpoint, container.definition.networks.get(endpoint.network))
        if any(_is_user_network(endpoint) for endpoint in endpoints):
            await self._try_to_serve(container, endpoints, namespace)

    def lacks_answers(self, container: Container) -> bool:
        """Whether a container that runs is to be answered, and could not be."""
        return container.id not in self._dns.served and any(
            _is_user_network(endpoint) for endpoint in _endpoints(container)
        )

    async def answer(self, container: Container, namespace: Path) -> None:
        """Try once more to answer a container that runs. The caller has its turn.

        Raises:
            EngineError: it still cannot be.
        """
        await self._serve(container, _endpoints(container), namespace)
        if not container.state.has_task:  # it has ended meanwhile, and its namespace is to go
            self._dns.stop(container.id)
            return
        log.info("container is answered again", container=container.id)

    def end(self, container_id: str) -> None:
        """It runs no more. Before its namespace is dropped."""
        self._dns.names.forget(container_id)
        self._dns.stop(container_id)

    def note(self, container: Container) -> None:
        """It was found running; who asks before `adopt` has been reached finds it."""
        for endpoint in _endpoints(container):
            self._put(container, endpoint, container.status.networks[endpoint.network])

    async def adopt(self, container: Container, namespace: Path) -> None:
        """It was found running: it is answered again, and has its addresses in its hosts file."""
        endpoints = _endpoints(container)
        self.note(container)
        if not any(_is_user_network(endpoint) for endpoint in endpoints):
            return
        await self._add_hosts(container, endpoints)
        if container.id not in self._dns.served:
            await self._try_to_serve(container, endpoints, namespace)

    async def connected(self, container: Container, endpoint: Endpoint, namespace: Path) -> None:
        """A container that runs is in one more network."""
        self._put(container, endpoint, container.status.networks.get(endpoint.network))
        await self._add_hosts(container, [endpoint])
        if _is_user_network(endpoint) and container.id not in self._dns.served:
            endpoints = _endpoints(container)
            await self._try_to_serve(container, endpoints, namespace)
            await self._rewrite_resolv_conf(container, endpoints)

    async def disconnected(self, container: Container, endpoint: Endpoint) -> None:
        """A container that runs is in a network no more. It is still answered, as by dockerd."""
        self._dns.names.remove(endpoint.network_id, container.id)
        await self._hosts.remove(container.id, _addresses(endpoint), _own_names(container))

    def renamed(self, container: Container) -> None:
        """Others call it by another name from now on, if it runs."""
        if container.state.has_task:
            self.note(container)

    def _put(
        self, container: Container, endpoint: Endpoint, settings: EndpointSettings | None
    ) -> None:
        settings = settings or EndpointSettings()
        has_names = _is_user_network(endpoint)
        links = (parse_link(link) for link in settings.links or ()) if has_names else ()
        named = NamedEndpoint(
            container_id=container.id,
            network=endpoint.network,
            names=tuple(dns_names(container.definition, settings)) if has_names else (),
            addresses=tuple(ip_address(address) for address in _addresses(endpoint)),
            links={alias: name for name, alias in links},
            leads_out=endpoint.leads_out,
            priority=endpoint.gateway_priority,
        )
        self._dns.names.put(endpoint.network_id, named)

    async def _serve(
        self, container: Container, endpoints: Sequence[Endpoint], namespace: Path
    ) -> None:
        found = await self._resolv_conf(container, endpoints)
        await self._dns.serve(
            container.id,
            namespace,
            resolvers=found.resolvers,
            keeps_short_names=found.keeps_short_names,
        )

    async def _try_to_serve(
        self, container: Container, endpoints: Sequence[Endpoint], namespace: Path
    ) -> None:
        """It goes on without, as under dockerd, until it can be answered."""
        try:
            await self._serve(container, endpoints, namespace)
        except EngineError as error:
            log.error("container without DNS", container=container.id, error=str(error))

    async def _add_hosts(self, container: Container, endpoints: Iterable[Endpoint]) -> None:
        addresses = [address for endpoint in endpoints for address in _addresses(endpoint)]
        await self._hosts.add(container.id, addresses, _own_names(container))

    async def _rewrite_resolv_conf(
        self, container: Container, endpoints: Sequence[Endpoint]
    ) -> None:
        """Unless somebody has changed the file."""
        found = await self._resolv_conf(container, endpoints)
        directory = self._directory / container.id
        rewrite = partial(_replace_untouched, directory, found.text)
        try:
            if not await trio.to_thread.run_sync(rewrite, limiter=self._disk):
                log.info("resolv.conf left as it was edited", container=container.id)
        except OSError as error:
            log.error("resolv.conf not updated", container=container.id, error=str(error))

    async def _resolv_conf(self, container: Container, endpoints: Sequence[Endpoint]) -> ResolvConf:
        find = partial(self._resolv_confs.of, container.definition.host_config, endpoints)
        return await trio.to_thread.run_sync(find, limiter=self._disk)


def _place(endpoints: Sequence[Endpoint]) -> Place:
    if any(endpoint.driver == "host" for endpoint in endpoints):
        return Place.HOST
    if any(_is_user_network(endpoint) for endpoint in endpoints):
        return Place.USER_NETWORK
    return Place.DEFAULT_BRIDGE


def _is_user_network(endpoint: Endpoint) -> bool:
    """Whether names are found in this network."""
    return endpoint.network not in PREDEFINED and not endpoint.is_way_out_only


def _endpoints(container: Container) -> list[Endpoint]:
    return endpoints_of(container.status.networks, container.status.places)


def _addresses(endpoint: Endpoint) -> list[str]:
    if endpoint.is_way_out_only:
        return []
    return [address for address in (endpoint.address, endpoint.address6) if address]


def _own_names(container: Container) -> str:
    config = container.definition.config
    return own_names(config.hostname, config.domainname)


def _replace_untouched(directory: Path, text: str) -> bool:
    if not is_untouched(directory):
        return False
    write_resolv_conf(directory, text)
    return True
