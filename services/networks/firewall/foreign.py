"""Other tools' chains, kept open for our bridges where that is safe, and named where it is not.

See `foreign_rules` for what is safe. Our rules in there have our table's name as their comment.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Protocol

import trio
from loguru import logger

from services.errors import EngineError
from services.networks.firewall.foreign_legacy import open_legacy_chains
from services.networks.firewall.foreign_rules import dropping_chains, openings, reopened

log = logger.bind(service="firewall")


class Asked(Protocol):
    """What runs a script of nft and answers with its output."""

    async def ask(self, script: str) -> str:
        """Raises EngineError."""


class ForeignChains:
    """What others drop of ours, as it was found last."""

    def __init__(self, *, comment: str) -> None:
        self._comment = comment
        self._warnings: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For people: one sentence for each chain that keeps our packets from where they go."""
        return self._warnings

    async def open(self, helper: Asked, bridges: Collection[str]) -> None:
        """Have these bridges' packets pass, and take back what was done for others.

        Raises:
            HelperLost: it has ended.
        """
        warnings = []
        for chain in dropping_chains(await helper.ask("list chains")):
            if not chain.is_iptables:
                if bridges:
                    warnings.append(
                        f"the chain {chain} drops what it does not know: containers' packets too"
                    )
                continue
            present = openings(await helper.ask(f"list chain {chain}"), self._comment)
            script = reopened(chain, present, bridges, self._comment)
            if script:
                log.info("iptables' FORWARD opened", chain=str(chain), bridges=sorted(bridges))
                await helper.ask(script)
        try:
            await trio.to_thread.run_sync(
                partial(open_legacy_chains, tuple(bridges), self._comment)
            )
        except EngineError as error:
            warnings.append(f"another firewall may drop containers' packets: {error}")
        self._tell(tuple(warnings))

    def _tell(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            if warning not in self._warnings:
                log.warning("packets are dropped by another firewall", reason=warning)
        self._warnings = warnings
