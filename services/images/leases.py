"""Leases of ours: what is being made is kept by one, and falls to the collector with it.

A lease ends with its block. When the daemon dies inside, the lease expires by itself, and the next
start takes it away before: what we do not hold then was an earlier daemon's.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError, NotFound

from .ports import ContainerdClient

LEASE_PREFIX: Final = "wharfinger-images-"
EXPIRES_S: Final = 24 * 3600.0  # containerd's own default; longer than any upload lasts
_ABORT_ATTEMPTS: Final = 20
_ABORT_AGAIN_S: Final = 0.1
_CLEANUP_S: Final = 30.0  # deleting a lease runs the collector, which deletes the blobs

_log = logger.bind(service="images")


class WorkingLeases:
    """Hands out leases, and knows its own from those of a daemon that was killed."""

    def __init__(self, containerd: ContainerdClient) -> None:
        self._containerd = containerd
        self._held: set[str] = set()
        self._is_clean = False  # nothing of ours is in containerd but what is held

    @property
    def held(self) -> frozenset[str]:
        """The leases that are in use now."""
        return frozenset(self._held)

    def doubt(self) -> None:
        """The next `remove_leftovers` looks whether there are any."""
        self._is_clean = False

    @asynccontextmanager
    async def hold(self, *, collects: bool = False) -> AsyncIterator[str]:
        """Put what the block makes in containerd under a new lease, whose ID the block gets.

        The block gives ingests names that begin with the ID. If it fails, everything that it made
        is gone when this ends; if not, whatever nothing refers to goes a little later, or with
        `collects` by then too.
        """
        lease_id = f"{LEASE_PREFIX}{secrets.token_hex(8)}"
        self._held.add(lease_id)
        try:
            await self._containerd.leases.create(lease_id, expires_s=EXPIRES_S)
            with self._containerd.lease(lease_id):
                yield lease_id
        except BaseException:
            await self._end(lease_id, collect_now=True)
            raise
        else:
            await self._end(lease_id, collect_now=collects)
        finally:
            self._held.discard(lease_id)

    async def collect(self) -> None:
        """Have containerd take away all that nothing keeps; returns once it has."""
        lease_id = f"{LEASE_PREFIX}{secrets.token_hex(8)}"
        await self._containerd.leases.create(lease_id, expires_s=EXPIRES_S)
        await self._containerd.leases.delete(lease_id, sync=True)

    async def remove_leftovers(self) -> None:
        """Take away what an earlier daemon had under way, down to its blobs and snapshots, and what
        of ours could not be taken away before; no call to containerd when there is neither.

        Raises:
            EngineError: containerd is away or busy; call again.
        """
        if self._is_clean:
            return
        self._is_clean = True  # an end that fails meanwhile says otherwise
        try:
            await self._remove_unheld()
        except BaseException:
            self._is_clean = False
            raise

    async def _remove_unheld(self) -> None:
        for status in await self._containerd.content.statuses():
            if status.ref.startswith(LEASE_PREFIX) and not self._is_held(status.ref):
                await self._abort(status.ref)
        for lease in await self._containerd.leases.list():
            if lease.id.startswith(LEASE_PREFIX) and lease.id not in self._held:
                _log.info("unfinished work of an earlier run removed", lease=lease.id)
                await self._containerd.leases.delete(lease.id, sync=True)

    def _is_held(self, ref: str) -> bool:
        return any(ref.startswith(lease_id) for lease_id in self._held)

    async def _end(self, lease_id: str, *, collect_now: bool) -> None:
        with trio.move_on_after(_CLEANUP_S, shield=True) as scope:
            try:
                if collect_now:
                    await self._abort_ingests(lease_id)
                await self._containerd.leases.delete(lease_id, sync=collect_now)
            except NotFound:
                pass
            except EngineError as error:
                self._is_clean = False
                _log.warning("lease not deleted", lease=lease_id, error=str(error))
        if scope.cancelled_caught:
            self._is_clean = False
            _log.error("lease not deleted in time", lease=lease_id, after_s=_CLEANUP_S)

    async def _abort_ingests(self, lease_id: str) -> None:
        for status in await self._containerd.content.statuses():
            if status.ref.startswith(lease_id):
                await self._abort(status.ref)

    async def _abort(self, ref: str) -> None:
        """Throw an ingest away; containerd may be writing yet what its dead client had sent."""
        for attempts_left in reversed(range(_ABORT_ATTEMPTS)):
            try:
                await self._containerd.content.abort(ref)
            except NotFound:
                return
            except EngineError:
                if not attempts_left:
                    raise
                await trio.sleep(_ABORT_AGAIN_S)
            else:
                return
