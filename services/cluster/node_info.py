"""What a node says of its place in a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.cluster.addresses import split_host
from services.cluster.info import Peer, SwarmInfo
from services.cluster.life import Life, ManagerLife
from services.cluster.local_state import LocalState
from services.cluster.phase import Phase

STALE_S: Final = 3.0  # an election takes less than one


def info_of(
    phase: Phase, error: str, state: LocalState | None, life: Life | None, is_manager: bool
) -> SwarmInfo:
    """`is_manager`: it is one that can be asked for the whole cluster."""
    info = SwarmInfo(state=phase.value, error=error)
    if state is not None:
        host, _ = split_host(state.advertise_addr, 0)
        info = replace(info, node_id=state.node_id, node_addr=host)
    if isinstance(life, ManagerLife) and is_manager:
        return _of_manager(info, life)
    if life is not None:
        peers = tuple(Peer(node_id="", addr=addr) for addr in life.remotes.addresses)
        return replace(info, remote_managers=peers)
    return info


def _of_manager(info: SwarmInfo, life: ManagerLife) -> SwarmInfo:
    snapshot = life.store.snapshot()
    if life.store.age_s > STALE_S:
        # Reads go on without a quorum; whoever reads is to know what they are worth.
        stale = f"no quorum of managers: what is shown is {life.store.age_s:.0f} s old"
        info = replace(info, error=stale)
    managers = {node.id: node.manager for node in snapshot.nodes.values() if node.manager}
    return replace(
        info,
        control_available=True,
        cluster=snapshot.cluster,
        nodes=len(snapshot.nodes),
        managers=len(managers),
        remote_managers=tuple(Peer(node_id=id, addr=each.addr) for id, each in managers.items()),
    )
