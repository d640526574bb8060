"""Whether this node can encrypt, and that it does: to and from its peers in such networks."""

from __future__ import annotations

import base64
from functools import partial
from typing import Final

import trio
from loguru import logger

from services.cluster.network.plan import NodePlan
from services.errors import EngineError
from services.networks.drivers.esp import clear_encryption, sync_encryption, why_no_esp
from services.networks.overlay.encryption import Encryption, NodeKey, plan_encryption
from services.networks.overlay.values import encrypted_port

log = logger.bind(service="cluster")

LOOK_AGAIN_S: Final = 60.0
"""How soon a kernel that could not is asked again: somebody may have given it a module."""


class NodeEncryption:
    """One for a node. What is in the kernel outlives the daemon, and its keys go nowhere else."""

    def __init__(self) -> None:
        self._can = False
        self._why_not = ""
        self._asked_at = -LOOK_AGAIN_S
        self._inputs: object = None  # of what was planned last
        self._planned: Encryption | None = None
        self._port = 0  # of what may be in the kernel
        self._is_clear = False

    async def require(self, name: str) -> None:
        """Raises EngineError: this node cannot have an encrypted network; a sentence says why."""
        if not self._can and trio.current_time() >= self._asked_at + LOOK_AGAIN_S:
            self._asked_at = trio.current_time()
            self._why_not = await trio.to_thread.run_sync(why_no_esp)
            self._can = not self._why_not
        if not self._can:
            raise EngineError(f"network {name} is to be encrypted: {self._why_not}")

    async def have(self, plan: NodePlan) -> None:
        """Encrypt to and from the plan's peers, and to nobody else any more.

        While no manager has told keys, what an earlier daemon has set up goes on.

        Raises:
            EngineError, OSError: the kernel refused, or an address is none.
        """
        port = encrypted_port(plan.place.data_path_port)
        if not any(one.is_encrypted for one in plan.networks.values()):
            await self.clear(port)
            return
        if plan.keys is None or not self._can:
            return
        self._is_clear, self._port = False, port
        inputs = (plan.place, plan.encrypted_peers, plan.keys)
        if self._planned is None or self._inputs != inputs:
            self._planned, self._inputs = await trio.to_thread.run_sync(_planned, plan), inputs
        changed = await trio.to_thread.run_sync(sync_encryption, self._planned)
        if changed:
            log.info("encryption between nodes changed", entries=changed)

    async def clear(self, port: int = 0) -> None:
        """Encrypt to nobody. The networks' own guard, that nothing goes in plain text, stays.

        Raises:
            OSError: the kernel refused.
        """
        port = self._port or port
        if port and not self._is_clear:
            self._planned = None
            removed = await trio.to_thread.run_sync(partial(clear_encryption, port))
            self._is_clear, self._port = True, 0
            if removed:
                log.info("encryption between nodes ended", entries=removed)


def _planned(plan: NodePlan) -> Encryption:
    keys = [NodeKey(number=key.number, secret=base64.b64decode(key.key)) for key in plan.keys or ()]
    own, port = plan.place.data_path_addr, encrypted_port(plan.place.data_path_port)
    try:
        return plan_encryption(own, port, plan.encrypted_peers, keys)
    except ValueError as error:
        raise EngineError(f"other nodes cannot be encrypted to: {error}") from error
