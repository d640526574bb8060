"""The one nftables table that is ours: what networks let through, and published ports.

What it is to hold is kept in memory; the helper process writes it. Whatever else happens to the
helper or to the table (`nft flush ruleset`), the whole of it is written again, in one transaction.
Other tools' rules are left alone, but for one case: see `foreign_rules`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError, Unavailable, single_error
from services.networks.firewall import ruleset
from services.networks.firewall.bridge_filter import require_bridge_filter
from services.networks.firewall.foreign import ForeignChains
from services.networks.firewall.network_chains import network_added, network_removed
from services.networks.firewall.network_rules import FirewallPolicy, NetworkRules, PortTargets
from services.networks.firewall.ruleset import Publication
from services.networks.helpers.ahead import HelperAhead
from services.networks.helpers.child_end import wait_ended
from services.networks.nft.helper import START_LIMIT_S, HelperLost, Nft, running_helper
from services.networks.nft.nft_process import NAME
from services.networks.nft.table_listing import Difference, differences, read_listing
from services.networks.nft.watch import LossWatch, open_watch
from services.networks.ports import PublishedPort

log = logger.bind(service="firewall")

READY_LIMIT_S: Final = 5.0
FIRST_READY_LIMIT_S: Final = 2 * START_LIMIT_S
"""While the engine starts: a helper that is late, or lost and started anew, delays that start."""
SETTLE_S: Final = 0.1
"""Between a loss and its repair: who takes our rules away again and again costs little."""
LOOK_S: Final = 30.0
END_LIMIT_S: Final = 2.0


class Firewall:
    """What our table holds, and the helper that writes it.

    A change is in memory first: one that the helper's end has cut off is made by the next one.
    Until `settle`, a table that an earlier daemon left is amended and not replaced: it leads to
    containers that run, and are not adopted yet. `is_ending`: whether an end of this part is one
    of the engine and its containers, so that nothing in other tools' chains is needed any more.
    """

    def __init__(
        self,
        *,
        table: str,
        policy: FirewallPolicy | None = None,
        is_ending: Callable[[], bool] = lambda: True,
        ahead: HelperAhead | None = None,
    ) -> None:
        """`ahead` may have started a helper, which the first `run` takes over."""
        self._ahead = ahead
        self._table = table
        self._is_ending = is_ending
        self._foreign = ForeignChains(comment=table)
        self._is_foreign_stale = trio.Event()
        self._policy = policy or FirewallPolicy()
        self._networks: dict[str, NetworkRules] = {}
        self._published: dict[str, Publication] = {}
        self._is_settled = False
        self._has_table = False  # the one that is there is of this version, and known to be
        self._helper: Nft | None = None
        self._ready = trio.Event()
        self._is_stale = trio.Event()
        self._turn = trio.Lock()

    @property
    def table(self) -> str:
        """The table's name."""
        return self._table

    @property
    def warnings(self) -> tuple[str, ...]:
        """What other tools' rules keep from containers; sentences for people."""
        return self._foreign.warnings

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a helper and the table until cancelled.

        Raises:
            HelperLost: the helper has ended.
        """
        async with running_helper(ahead=self._ahead) as (helper, process):
            with open_watch() as watch, self._serving(helper):
                await self._write_what_is_missing(helper)
                self._ready.set()
                task_status.started()
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._see_losses, watch)
                        nursery.start_soon(self._repair, helper)
                        nursery.start_soon(self._keep_foreign_open, helper)
                        await wait_ended(process.pid)
                        nursery.cancel_scope.cancel()
        raise HelperLost("the firewall's helper has ended")

    async def set_network(self, network: NetworkRules) -> None:
        """Have these rules for the network on a bridge, instead of those that it had.

        Raises:
            Unavailable: there is no helper.
            EngineError: nft refused the rules, or the kernel cannot keep containers apart.
        """
        if not network.icc:
            require = partial(require_bridge_filter, ipv6=network.ipv6 is not None)
            await trio.to_thread.run_sync(require)
        self._networks[network.bridge] = network
        self._is_foreign_stale.set()
        try:
            await self._change(network_added(self._table, network, self._policy))
        except EngineError:
            self._networks.pop(network.bridge, None)
            self._is_stale.set()
            raise

    async def remove_network(self, bridge: str) -> None:
        """Have no rules for a bridge any more. If that cannot be done now it is done later."""
        if self._networks.pop(bridge, None) is not None:
            self._is_foreign_stale.set()
            await self._change_some_time(network_removed(self._table, bridge), bridge=bridge)
            if not self._networks and self._is_settled:
                self._is_stale.set()  # without networks there is no table

    def settle(self) -> None:
        """Write the table anew: all that ran before was adopted, and every network is set."""
        self._is_settled = True
        self._is_stale.set()

    def adopt(self, owner: str, targets: PortTargets, ports: Sequence[PublishedPort]) -> None:
        """A container that runs has these ports; `settle` is to follow."""
        self._published[owner] = Publication(targets=targets, ports=tuple(ports))

    async def publish(
        self, owner: str, targets: PortTargets, ports: Sequence[PublishedPort]
    ) -> None:
        """Lead ports to a container; those that it had before no more.

        Raises:
            Unavailable, EngineError: as `set_network`; the ports lead nowhere.
        """
        before = self._published.get(owner)
        publication = Publication(targets=targets, ports=tuple(ports))
        script = self._removal(before) if before else ""
        script += self._addition(publication)
        self._published[owner] = publication
        try:
            await self._change(script)
        except BaseException:
            self._published.pop(owner, None)
            self._is_stale.set()
            raise

    async def withdraw(self, owner: str) -> None:
        """Lead a container's ports nowhere. If that cannot be done now it is done later."""
        publication = self._published.pop(owner, None)
        if publication is not None:
            await self._change_some_time(self._removal(publication), container=owner)

    async def compare(self) -> Sequence[Difference]:
        """What of the table is not as it is meant to be. Takes a tenth of a second.

        Until `settle` nothing is told: an earlier daemon's table stands.

        Raises:
            Unavailable, HelperLost: it cannot be told.
        """
        if not self._is_settled:
            return []
        helper = await self._when_ready()
        async with self._turn:
            meant = ruleset.whole_table(self._table, self._policy, self._networks, self._published)
            is_wanted = bool(self._networks)
            there = await _listed(helper, self._table)
        if not is_wanted:
            return differences({}, read_listing(there))
        async with running_helper("apart") as (apart, _):
            await apart.ask(meant)
            return differences(read_listing(await _listed(apart, self._table)), read_listing(there))

    async def mend(self) -> None:
        """Write the whole table anew, if it is not as it is meant to be. Raises as `compare`."""
        if await self.compare():
            await self._write_all(await self._when_ready())

    def _addition(self, publication: Publication) -> str:
        return ruleset.ports_added(self._table, publication)

    def _removal(self, publication: Publication) -> str:
        return ruleset.ports_removed(self._table, publication)

    async def _change_some_time(self, script: str, **whose: str) -> None:
        try:
            await self._change(script)
        except EngineError as error:
            log.warning("firewall not changed yet", error=str(error), **whose)
            self._is_stale.set()

    async def _change(self, script: str) -> None:
        """Amend the table by what is in memory already."""
        helper = await self._when_ready()
        try:
            if not await self._keeps_table(helper):
                await self._write_all(helper)
            elif script:
                async with self._turn:
                    await helper.ask(script)
        except HelperLost:
            self._lose(helper)
            await self._when_ready()  # the next one has written all that is in memory
        except EngineError:
            await self._write_all(helper)  # the table is not what it should be

    async def _write_what_is_missing(self, helper: Nft) -> None:
        """What this helper's predecessor may have failed to write."""
        if self._is_settled or (self._networks and not await self._keeps_table(helper)):
            await self._write_all(helper)
        elif self._networks:
            script = ruleset.additions(self._table, self._policy, self._networks, self._published)
            async with self._turn:
                is_amended = await _succeeds(helper, script)
            if not is_amended:
                await self._write_all(helper)

    async def _write_all(self, helper: Nft) -> None:
        async with self._turn:
            script = ruleset.whole_table(self._table, self._policy, self._networks, self._published)
            if self._is_settled:
                script += ruleset.former_table_removed(self._table)
            await helper.ask(script)
            self._has_table = bool(self._networks)

    async def _keeps_table(self, helper: Nft) -> bool:
        """Whether the table can be amended."""
        if not self._has_table:
            async with self._turn:
                self._has_table = await _succeeds(
                    helper, f"list chain inet {self._table} {ruleset.LAYOUT}"
                )
        return self._has_table

    async def _see_losses(self, watch: socket.socket) -> None:
        losses = LossWatch(table=self._table, program=NAME)
        while True:
            await trio.lowlevel.wait_readable(watch)
            is_lost = losses.drain(watch)
            if losses.has_foreign:
                losses.has_foreign = False
                self._is_foreign_stale.set()
            if is_lost:
                log.warning("the firewall table was changed by another program: it is restored")
                self._is_stale.set()

    async def _keep_foreign_open(self, helper: Nft) -> None:
        """After each change by others, and now and then: iptables' old tables tell nobody."""
        self._is_foreign_stale.set()
        try:
            while True:
                with trio.move_on_after(LOOK_S):
                    await self._is_foreign_stale.wait()
                await trio.sleep(SETTLE_S)
                self._is_foreign_stale = trio.Event()
                await self._open_foreign(helper, self._networks)
        finally:
            if self._is_ending():
                with trio.move_on_after(END_LIMIT_S, shield=True):
                    await self._open_foreign(helper, ())

    async def _open_foreign(self, helper: Nft, bridges: Collection[str]) -> None:
        try:
            await self._foreign.open(helper, bridges)
        except HelperLost:
            return  # that is seen elsewhere
        except EngineError as error:
            log.warning("another tool's chain is not opened", error=str(error))

    async def _repair(self, helper: Nft) -> None:
        while True:
            await self._is_stale.wait()
            await trio.sleep(SETTLE_S)
            self._is_stale = trio.Event()
            if not self._networks and not self._is_settled:
                continue
            try:
                await self._write_all(helper)
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
        limit_s = READY_LIMIT_S if self._is_settled else FIRST_READY_LIMIT_S
        with trio.move_on_after(limit_s):
            await self._ready.wait()
            if self._helper is not None:
                return self._helper
        raise Unavailable("the firewall is not up; try again")


async def _listed(helper: Nft, table: str) -> str:
    """nft's listing of a table; nothing if there is none.

    Raises:
        HelperLost: no answer came.
    """
    try:
        return await helper.ask(f"list table inet {table}")
    except HelperLost:
        raise
    except EngineError:
        return ""


async def _succeeds(helper: Nft, script: str) -> bool:
    """Raises HelperLost."""
    try:
        await helper.ask(script)
    except HelperLost:
        raise
    except EngineError:
        return False
    return True
