"""Who holds which addresses: services their virtual ones, tasks theirs, nodes their balancers'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from services.cluster.allocator.addresses import AddressBook
from services.cluster.model.objects import ClusterNetwork, Service, Task

Claim = tuple[str, str]  # a network, and an address with its prefix length
Owner = tuple[str, str]  # what kind of thing, and its id


class Claims:
    """All of them. An address is taken while some owner claims it."""

    def __init__(self) -> None:
        self.books: dict[str, AddressBook] = {}
        self.present: Counter[tuple[str, str]] = Counter()  # tasks by network and node
        self._held: dict[Owner, tuple[Claim, ...]] = {}
        self._nodes: dict[str, str] = {}  # of tasks that are counted in `present`

    def put_network(self, network: ClusterNetwork) -> None:
        """A network is there, or has got its subnets or balancers' addresses."""
        book = self.books.get(network.id)
        if network.subnets and (book is None or book.subnets != tuple(network.subnets)):
            book = self.books[network.id] = AddressBook(network.subnets)
            for claims in self._held.values():
                for network_id, address in claims:
                    if network_id == network.id:
                        book.mark(address)
        balancers = ((network.id, address) for address in network.balancer_addrs.values())
        self.hold(("network", network.id), balancers)

    def remove_network(self, network_id: str) -> None:
        """A network is gone, with all that was given of it."""
        self.books.pop(network_id, None)
        self._held.pop(("network", network_id), None)

    def put_service(self, service: Service) -> None:
        """A service has these virtual addresses and no others."""
        vips = service.endpoint.virtual_ips if service.endpoint else []
        self.hold(("service", service.id), ((vip.network_id, vip.addr) for vip in vips if vip.addr))

    def remove_service(self, service_id: str) -> bool:
        """A service is gone. True if that gives something back."""
        return self.hold(("service", service_id), ())

    def put_task(self, task: Task) -> tuple[bool, list[str]]:
        """A task holds its addresses until it has ended.

        Tells whether that gives something back, and in which networks its node is new.
        """
        if task.status.state.is_ended:
            return self.remove_task(task), []
        claims = tuple((one.network_id, a) for one in task.networks for a in one.addresses)
        freed = self.hold(("task", task.id), claims)
        fresh: list[str] = []
        if task.node_id and task.id not in self._nodes and task.networks:
            self._nodes[task.id] = task.node_id
            for one in task.networks:
                self.present[one.network_id, task.node_id] += 1
                fresh.append(one.network_id)
        return freed, fresh

    def remove_task(self, task: Task) -> bool:
        """A task is gone or has ended. True if that gives something back."""
        node_id = self._nodes.pop(task.id, None)
        if node_id is not None:
            for one in task.networks:
                self.present[one.network_id, node_id] -= 1
                if self.present[one.network_id, node_id] <= 0:
                    del self.present[one.network_id, node_id]
        return self.hold(("task", task.id), ())

    def hold(self, owner: Owner, claims: Iterable[Claim]) -> bool:
        """Let an owner hold these and no others. True if it held others before."""
        after, before = tuple(claims), self._held.get(owner, ())
        if after == before:
            return False
        kept = set(after)
        freed = [claim for claim in before if claim not in kept]
        for network_id, address in freed:
            if (book := self.books.get(network_id)) is not None:
                book.release(address)
        for network_id, address in after:
            if (book := self.books.get(network_id)) is not None:
                book.mark(address)
        if after:
            self._held[owner] = after
        else:
            self._held.pop(owner, None)
        return bool(freed)
