"""The one nftables table that is ours: the bridge's way out, and published ports.

What it is to hold is kept in memory; the helper process writes it. Whatever else happens to the
helper or to the table (`nft flush ruleset`), the whole of it is written again, in one transaction.
No other tool's rules are read or touched.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError, Unavailable, single_error
from services.networks import ruleset
from services.networks.nft import HelperLost, Nft, running_helper
from services.networks.nft_process import NAME
from services.networks.nft_watch import LossWatch, open_watch
from services.networks.ports import PublishedPort
from services.networks.ruleset import BridgeRules

log = logger.bind(service="firewall")

READY_LIMIT_S: Final = 5.0
SETTLE_S: Final = 0.1
"""Between a loss and its repair: who takes our rules away again and again costs little."""


class Firewall:
    """What our table holds, and the helper that writes it.

    A change is in memory first: one that the helper's end has cut off is made by the next one.
    """

    def __init__(self, *, table: str) -> None:
        self._table = table
        self._rules: BridgeRules | None = None
        self._published: dict[str, tuple[str, tuple[PublishedPort, ...]]] = {}
        self._helper: Nft | None = None
        self._ready = trio.Event()
        self._is_stale = trio.Event()
        self._turn = trio.Lock()

    @property
    def table(self) -> str:
        """The table's name."""
        return self._table

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a helper and the table until cancelled.

        Raises:
            HelperLost: the helper has ended.
        """
        async with running_helper() as (helper, process):
            with open_watch() as watch, self._serving(helper):
                if self._rules is not None:
                    await self._write_all(helper, self._rules)
                self._ready.set()
                task_status.started()
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._see_losses, watch)
                        nursery.start_soon(self._repair, helper)
                        await _ended(process.pid)
                        nursery.cancel_scope.cancel()
        raise HelperLost("the firewall's helper has ended")

    async def install(self, rules: BridgeRules) -> None:
        """Have the table with these rules.

        One that an earlier daemon left is kept until `settle`: it leads to containers that run.

        Raises:
            Unavailable: there is no helper.
            EngineError: nft refused the rules.
        """
        is_first, self._rules = self._rules is None, rules
        helper = await self._when_ready()
        if not (is_first and await self._is_there(helper)):
            await self._write_all(helper, rules)

    def settle(self) -> None:
        """Write the table anew: all that ran before was adopted."""
        self._is_stale.set()

    def adopt(self, owner: str, address: str, ports: Sequence[PublishedPort]) -> None:
        """A container that runs has these ports; `settle` is to follow."""
        self._published[owner] = (address, tuple(ports))

    async def publish(self, owner: str, address: str, ports: Sequence[PublishedPort]) -> None:
        """Lead ports to a container.

        Raises:
            Unavailable, EngineError: as `install`; the ports lead nowhere.
        """
        self._published[owner] = (address, tuple(ports))
        try:
            await self._change(lambda rules: ruleset.added(rules, address, ports))
        except BaseException:
            self._published.pop(owner, None)
            self._is_stale.set()
            raise

    async def withdraw(self, owner: str) -> None:
        """Lead a container's ports nowhere. If that cannot be done now it is done later."""
        _, ports = self._published.pop(owner, ("", ()))
        if ports:
            try:
                await self._change(lambda rules: ruleset.removed(rules, ports))
            except EngineError as error:
                log.warning("ports not withdrawn yet", container=owner, error=str(error))
                self._is_stale.set()

    async def _change(self, script: Callable[[BridgeRules], str]) -> None:
        helper = await self._when_ready()
        assert self._rules is not None
        try:
            async with self._turn:
                await helper.ask(script(self._rules))
        except HelperLost:
            self._lose(helper)
            await self._when_ready()  # the next one has written all that is in memory
        except EngineError:
            await self._write_all(helper, self._rules)  # the table is not what it should be

    async def _write_all(self, helper: Nft, rules: BridgeRules) -> None:
        async with self._turn:
            await helper.ask(ruleset.whole_table(rules, self._published))

    async def _is_there(self, helper: Nft) -> bool:
        try:
            await helper.ask(f"list chain ip {self._table} publish")
        except HelperLost:
            raise
        except EngineError:
            return False
        return True

    async def _see_losses(self, watch: socket.socket) -> None:
        losses = LossWatch(table=self._table, program=NAME)
        while True:
            await trio.lowlevel.wait_readable(watch)
            if losses.drain(watch):
                log.warning("the firewall table was changed by another program: it is restored")
                self._is_stale.set()

    async def _repair(self, helper: Nft) -> None:
        while True:
            await self._is_stale.wait()
            await trio.sleep(SETTLE_S)
            self._is_stale = trio.Event()
            if self._rules is None:
                continue
            try:
                await self._write_all(helper, self._rules)
            except HelperLost:
                raise
            except EngineError as error:
                log.error("firewall table not restored", error=str(error))
                self._is_stale.set()
                await trio.sleep(1)

    @contextmanager
    def _serving(self, helper: Nft) -> Iterator[None]:
        self._helper = helper
        try:
            yield
        finally:
            self._lose(helper)

    def _lose(self, helper: Nft) -> None:
        """From now on, another one is waited for."""
        if self._helper is helper:
            self._helper = None
            if self._ready.is_set():  # else somebody may wait for it already
                self._ready = trio.Event()

    async def _when_ready(self) -> Nft:
        with trio.move_on_after(READY_LIMIT_S):
            await self._ready.wait()
            if self._helper is not None:
                return self._helper
        raise Unavailable("the firewall is not up; try again")


async def _ended(pid: int) -> None:
    """Wait for the end of a child that nobody has waited for yet."""
    descriptor = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
