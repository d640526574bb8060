"""What must hold after every single write of a leader's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from clusterlib.world import World

from services.cluster.model.task_state import TaskState


def never(at_most_wanted: int) -> Callable[[World], None]:
    """No slot has more tasks that are wanted, and no address is given twice."""

    def check(world: World) -> None:
        crowded = {slot: n for slot, n in _wanted(world).items() if n > at_most_wanted}
        assert not crowded, f"slots with too many tasks: {crowded}"
        twice = {address for address, n in _given(world).items() if n > 1}
        assert not twice, f"addresses given twice: {twice}"

    return check


def _wanted(world: World) -> Counter[tuple[str, int | str]]:
    return Counter(
        (task.service_id, task.slot or task.node_id)
        for task in world.store.tasks.values()
        if task.desired_state <= TaskState.COMPLETE
    )


def _given(world: World) -> Counter[tuple[str, str]]:
    given = Counter(
        (one.network_id, address)
        for task in world.store.tasks.values()
        if not task.status.state.is_ended
        for one in task.networks
        for address in one.addresses
    )
    for made in world.store.services.values():
        vips = made.endpoint.virtual_ips if made.endpoint else []
        given.update((vip.network_id, vip.addr) for vip in vips)
    for network in world.store.networks.values():
        given.update((network.id, addr) for addr in network.balancer_addrs.values())
    return given
