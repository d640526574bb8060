"""What the managers tell a node of the cluster, taken to heart: where they are, whom to trust."""

from __future__ import annotations

from collections.abc import Callable

import trio
from loguru import logger
from msgspec.structs import replace

from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.dispatcher.values import SessionFacts
from services.cluster.local_state import LocalFiles, LocalState
from services.cluster.rpc.remotes import Remotes

log = logger.bind(service="cluster")


class FactsKeeper:
    """Told by the agent, which must not wait; `run`, a supervised child, does the rest."""

    def __init__(
        self,
        *,
        state: LocalState,
        files: LocalFiles,
        keeper: CredentialKeeper,
        remotes: Remotes,
        on_facts: Callable[[SessionFacts], None] = lambda _: None,
    ) -> None:
        self.state = state  # as it is to be on disk
        self._files = files
        self._keeper = keeper
        self._remotes = remotes
        self._on_facts = on_facts
        self._facts: SessionFacts | None = None
        self._is_new = trio.Event()
        self._writing = trio.Lock()
        self.was_told = trio.Event()  # at least once

    @property
    def facts(self) -> SessionFacts | None:
        """What was told last."""
        return self._facts

    def take(self, facts: SessionFacts) -> None:
        """The agent's `FactsListener`."""
        self._facts = facts
        self._remotes.update(facts.managers)
        self._is_new.set()
        self.was_told.set()
        self._on_facts(facts)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._is_new.wait()
            self._is_new = trio.Event()
            facts = self._facts
            assert facts is not None
            await self._keeper.trust(facts.root_certificates)
            if facts.must_renew:
                self._keeper.ask_to_renew()
            await self._save(facts)

    async def _save(self, facts: SessionFacts) -> None:
        """A node that starts again must find its managers."""
        if not facts.managers or set(facts.managers) == set(self.state.remotes):
            return
        self.state = replace(self.state, remotes=tuple(facts.managers))
        await self.write()

    async def write(self) -> None:
        """Have the state as it is now on disk. While a life is lived nobody else writes it."""
        async with self._writing:
            await trio.to_thread.run_sync(self._files.save, self.state)
