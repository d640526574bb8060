"""Legacy links: `--link name:alias` between containers on the default bridge.

The container that has the link (the parent) finds the other one (the child) by names in its
/etc/hosts and by variables in its environment. A link is kept as the child's id and the alias; all
names that are shown are made from what the two are called now. A child that was removed takes its
links with it.

Source: moby, daemon/links.go, daemon/links/links.go, daemon/container_operations_unix.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec
from loguru import logger

from services.containers.config import ContainerConfig, HostConfig
from services.containers.container import Container
from services.containers.model import Link
from services.containers.networking.hosts_file import HostsFiles, with_address, without_alias
from services.containers.spec.modes import shared_container
from services.errors import Conflict, InvalidParameter, NotFound

log = logger.bind(service="containers")

NETWORK: Final = "bridge"
"""The only network that has them."""

_NOT_INHERITED: Final = frozenset(("HOME", "PATH"))


class Table(Protocol):
    """The containers."""

    def get(self, container_id: str) -> Container | None:
        """The container with exactly this id."""

    def find(self, ref: str) -> Container:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""

    def parents_of(self, container: Container) -> Iterable[Container]:
        """The containers that have a link to this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedHost:
    """One line of a hosts file."""

    address: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What a container gets of those that it is linked to."""

    env: tuple[str, ...] = ()
    hosts: tuple[LinkedHost, ...] = ()


def parse_link(text: str) -> tuple[str, str]:
    """Name and alias. Besides "name" and "name:alias" the form of inspect, "/name:/parent/alias".

    Raises:
        InvalidParameter: it is neither.
    """
    if not text:
        raise InvalidParameter("empty string specified for links")
    name, *rest = text.split(":")
    if len(rest) > 1:
        raise InvalidParameter(f"bad format for links: {text}")
    alias = rest[0] if rest else name
    if name.startswith("/"):
        name, alias = name[1:], alias.rpartition("/")[2]
    # The alias becomes part of a hosts file and of names of variables.
    if not name or not alias or not alias.isprintable() or set(alias) & set(" /="):
        raise InvalidParameter(f"bad format for links: {text}")
    return name, alias


def resolve_links(host: HostConfig, containers: Table) -> list[Link]:
    """The links that a create asks for, by id. Of two with one alias the first holds.

    Raises:
        InvalidParameter: there is no such container, or none can be linked to it.
    """
    found: dict[str, Link] = {}
    for text in host.links or ():
        name, alias = parse_link(text)
        child = _linked_container(name, containers)
        if alias in found:
            log.warning("a link of this alias is there already", alias=alias)
        found.setdefault(alias, Link(child=child.id, alias=alias))
    return list(found.values())


def _linked_container(name: str, containers: Table) -> Container:
    """A container that is in another one's network stands for that one."""
    ref, seen = name, set[str]()
    while True:
        try:
            child = containers.find(ref)
        except NotFound as error:
            raise InvalidParameter(f"could not get container for {ref}: {error}") from error
        mode = child.definition.host_config.network_mode
        if mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        joined = shared_container(mode)
        if not joined or joined in seen:
            return child
        seen.add(joined)
        ref = joined


def link_env(path: str, address: str, config: ContainerConfig) -> list[str]:
    """The variables of one link, whose `path` is "/parent/alias", to a container at `address`."""
    prefix = path.rpartition("/")[2].upper().replace("-", "_")
    exposed = {} if config.exposed_ports is msgspec.UNSET else config.exposed_ports
    ports = sorted({port for text in exposed for port in _ports(text)}, key=_tcp_first)
    env = []
    if ports:
        number, protocol = ports[0]
        env.append(f"{prefix}_PORT={protocol}://{address}:{number}")
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        env += [
            f"{name}={protocol}://{address}:{number}",
            f"{name}_ADDR={address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]
    for first, last, protocol in _ranges(ports):
        name = f"{prefix}_PORT_{first}_{protocol.upper()}"
        env += [
            f"{name}_START={protocol}://{address}:{first}",
            f"{name}_PORT_START={first}",
            f"{name}_END={protocol}://{address}:{last}",
            f"{name}_PORT_END={last}",
        ]
    env.append(f"{prefix}_NAME={path}")
    for entry in config.env or ():
        name, separator, _ = entry.partition("=")
        if separator and name not in _NOT_INHERITED:
            env.append(f"{prefix}_ENV_{entry}")
    return env


def _ports(text: str) -> Iterator[tuple[int, str]]:
    """Of "80/tcp", "80" or "8000-8010/udp"."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    for number in range(int(first), int(last or first) + 1):
        yield number, (protocol or "tcp").lower()


def _tcp_first(port: tuple[int, str]) -> tuple[bool, str, int]:
    number, protocol = port
    return protocol != "tcp", protocol, number


def _ranges(ports: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """First and last of each run of two and more ports that follow one another."""
    start = 0
    for at in range(1, len(ports) + 1):
        number, protocol = ports[at - 1]
        if at == len(ports) or ports[at] != (number + 1, protocol):
            if at - start > 1:
                yield ports[start][0], number, protocol
            start = at


class Links:
    """The links of containers, as they are now."""

    def __init__(self, table: Table, *, hosts: HostsFiles) -> None:
        self._table = table
        self._hosts = hosts

    def children(self, container: Container) -> list[tuple[str, Container]]:
        """Alias and container of each link whose child is still there."""
        links = ((link.alias, self._table.get(link.child)) for link in container.definition.links)
        return [(alias, child) for alias, child in links if child is not None]

    def shown(self, container: Container) -> list[str]:
        """`HostConfig.Links` of an inspect answer."""
        return [
            f"/{child.name}:/{container.name}/{alias}" for alias, child in self.children(container)
        ]

    def at_start(self, container: Container) -> Linked:
        """What a container that is about to start gets. Nothing outside of the default bridge.

        Raises:
            Conflict: one of them is not on the default bridge, or does not run.
        """
        if NETWORK not in container.definition.networks:
            return Linked()
        children = self.children(container)
        for _, child in children:
            if NETWORK not in child.definition.networks:
                raise Conflict(
                    f"Cannot link to /{child.name}, as it does not belong to the default network"
                )
        for alias, child in children:
            if not child.is_running:
                raise Conflict(
                    f"Cannot link to a non running container: /{child.name} AS "
                    f"/{container.name}/{alias}"
                )
        return self._linked(container)

    def at_exec(self, container: Container) -> tuple[str, ...]:
        """The variables for one more process: of those that run now."""
        return self._linked(container).env if container.definition.links else ()

    async def tell_parents(self, child: Container) -> None:
        """A container has started: those that run and are linked to it hear of its address."""
        address = _address_of(child)
        if not address:
            return
        for parent in self._table.parents_of(child):
            for link in parent.definition.links:
                if link.child == child.id and parent.state.has_task:
                    change = partial(with_address, alias=link.alias, address=address)
                    await self._hosts.change(parent.id, change)

    async def forget_host(self, parent: Container, alias: str) -> None:
        """A link was removed."""
        if parent.state.has_task:
            await self._hosts.change(parent.id, partial(without_alias, alias=alias))

    def _linked(self, container: Container) -> Linked:
        env: list[str] = []
        hosts: list[LinkedHost] = []
        for alias, child in self.children(container):
            address = _address_of(child)
            if not address or NETWORK not in container.definition.networks:
                continue
            config = child.definition.config
            env += link_env(f"/{container.name}/{alias}", address, config)
            own = () if alias == child.name else (child.name,)
            hosts.append(LinkedHost(address=address, names=(alias, config.hostname, *own)))
        return Linked(env=tuple(env), hosts=tuple(hosts))


def unlinked(parent: Container, alias: str) -> list[Link]:
    """The links that are left without one."""
    return [link for link in parent.definition.links if link.alias != alias]


def split_link_name(ref: str) -> tuple[str, str]:
    """Parent and alias of "/parent/alias".

    Raises:
        Conflict: it is the name or id of a container; the text is dockerd's (its status is 500).
    """
    parent, _, alias = ref.strip("/").rpartition("/")
    if not parent:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    return parent, alias


def _address_of(container: Container) -> str:
    endpoint = container.status.networks.get(NETWORK)
    return endpoint.ip_address if endpoint is not None else ""
