"""Sharing connections out among services' tasks, in the namespaces where they begin.

`run` is a supervised child: it keeps the helper process that enters namespaces. What was written is
remembered by namespace, so that a change is what differs, in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError, Unavailable
from services.networks.balancing.rules import Kind, Targets, changes, lost_targets, whole_table
from services.networks.helpers.child_end import wait_ended
from services.networks.kernel.conntrack import forget_led_flows
from services.networks.kernel.netns import in_namespace
from services.networks.nft.generation import generation_in
from services.networks.nft.helper import HelperLost, Nft, running_helper

log = logger.bind(service="balancer")

READY_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Written:
    """What a namespace has; `inode` is the namespace's, since a container gets a new one, and
    `generation` that of its rules, since others may change them."""

    inode: int
    generation: int
    targets: Targets


class Balancer:
    """The tables of all namespaces that have one."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], _Written] = {}
        self._helper: Nft | None = None
        self._ready = trio.Event()
        self._turn = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a helper until cancelled.

        Raises:
            HelperLost: it has ended.
        """
        async with running_helper("inside") as (helper, process):
            self._helper = helper
            self._ready.set()
            task_status.started()
            try:
                await wait_ended(process.pid)
            finally:
                self._helper, self._ready = None, trio.Event()
        raise HelperLost("the balancer's helper has ended")

    async def lead(
        self,
        kind: Kind,
        owner: str,
        namespace: Path,
        targets: Targets,
        *,
        client: str = "",
    ) -> bool:
        """Have connections that begin in `namespace`, which is `owner`'s, led to these targets.

        `client` is whose connections they are, if the owner is called so on other nodes, too. If
        somebody else has changed any rules there, all of the table is written anew.
        Flows without an end (UDP) to where nobody is to be any more are forgotten. Whether anything
        was changed.

        Raises:
            Unavailable: there is no helper.
            EngineError: the namespace is gone, or nft refused.
        """
        async with self._turn:
            written = self._written.get((kind.table, owner))
            inode, generation = await trio.to_thread.run_sync(_state, namespace)
            if written is not None and (written.inode, written.generation) != (inode, generation):
                written = None
            if written is not None and written.targets == targets:
                return False
            self._written.pop((kind.table, owner), None)
            await self._write(kind, client or owner, namespace, written, targets)
            _, generation = await trio.to_thread.run_sync(_state, namespace)
            self._written[kind.table, owner] = _Written(inode, generation, dict(targets))
        # Without knowing what was there before, any flow may be to where nobody is.
        keys = lost_targets(written.targets, targets) if written is not None else targets.keys()
        await self._forget_flows(namespace, keys, targets)
        return True

    async def is_changed(self, kind: Kind, owner: str, namespace: Path) -> bool:
        """Whether somebody has changed rules where this table was written; never where none was.

        Raises:
            EngineError: the namespace is gone.
        """
        written = self._written.get((kind.table, owner))
        if written is None:
            return False
        state = await trio.to_thread.run_sync(_state, namespace)
        return state != (written.inode, written.generation)

    def forget(self, owner: str) -> None:
        """An owner's namespace is gone, or is to be written whole."""
        for table, whose in [key for key in self._written if key[1] == owner]:
            del self._written[table, whose]

    def forget_others(self, owners: Collection[str]) -> None:
        """Only these have namespaces any more."""
        for whose in {owner for _, owner in self._written} - set(owners):
            self.forget(whose)

    async def _write(
        self,
        kind: Kind,
        client: str,
        namespace: Path,
        written: _Written | None,
        targets: Targets,
    ) -> None:
        whole = whole_table(kind, targets, client=client)
        if written is not None:
            with suppress(EngineError):  # somebody inside may have taken it away
                await self.run_inside(
                    namespace, changes(kind, written.targets, targets, client=client)
                )
                return
        await self.run_inside(namespace, whole)

    async def run_inside(self, namespace: Path, script: str) -> str:
        """Have nft run a script in a namespace; what it lists.

        Raises:
            Unavailable: there is no helper.
            EngineError: the namespace is gone, or nft refused.
        """
        with trio.move_on_after(READY_LIMIT_S):
            await self._ready.wait()
        if self._helper is None:
            raise Unavailable("the balancer is not up; try again")
        return await self._helper.ask(f"{namespace}\n{script}")

    async def _forget_flows(self, namespace: Path, keys: Collection[str], targets: Targets) -> None:
        if not keys:
            return
        kept = {key: frozenset(t.partition(" ")[0] for t in targets.get(key, ())) for key in keys}
        forget = partial(in_namespace, namespace, partial(forget_led_flows, kept))
        try:
            await trio.to_thread.run_sync(forget)
        except OSError as error:
            log.warning("flows not forgotten", namespace=str(namespace), error=str(error))


def _state(namespace: Path) -> tuple[int, int]:
    """A namespace's inode, and the generation of its rules."""
    try:
        return namespace.stat().st_ino, generation_in(namespace)
    except OSError as error:
        raise EngineError(f"namespace gone: {error}") from error
