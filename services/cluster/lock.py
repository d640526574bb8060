"""Locking: what lies on a manager's disk is rewritten when the cluster's unlock key changes."""

from __future__ import annotations

from typing import Protocol

import trio
from loguru import logger

from services.cluster.ca.data_key import DataKeyFile
from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.store.contract import ClusterStore

log = logger.bind(service="cluster")


class Locked(Protocol):
    """A manager's life."""

    unlock_key: str

    @property
    def store(self) -> ClusterStore:
        """Where the cluster's wish stands."""

    @property
    def keeper(self) -> CredentialKeeper:
        """Whose key lies on disk."""


class Lock:
    """A supervised child."""

    def __init__(self, life: Locked, data_key_file: DataKeyFile, data_key: bytes) -> None:
        self._life = life
        self._file = data_key_file
        self._data_key = data_key

    async def run(self) -> None:
        """Follow the cluster's unlock key until cancelled."""
        while True:
            snapshot = self._life.store.snapshot()
            locks = snapshot.cluster.spec.encryption_config.auto_lock_managers
            wanted = snapshot.cluster.unlock_key if locks else ""
            if wanted != self._life.unlock_key:
                await self._rewrite(wanted)
            await self._life.store.changed_since(snapshot.revision)

    async def _rewrite(self, unlock_key: str) -> None:
        self._life.unlock_key = unlock_key
        await trio.to_thread.run_sync(self._file.save, self._data_key, unlock_key)
        await self._life.keeper.relock()
        log.bind(is_locked=bool(unlock_key)).info("the keys on disk were rewritten")
