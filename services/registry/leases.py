"""Leases of pulls: named after what is pulled, so that the next daemon finds what the last one got.

A pull that fails or is given up takes everything with it. One that ends with the daemon, killed or
stopped, leaves blobs, and the beginnings of blobs, under its lease: the next pull of the same image
goes on from there, and after EXPIRES_S containerd takes them away.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from loguru import logger

from services.containerd.errors import AlreadyExists
from services.errors import EngineError, NotFound

from .locks import KeyedLocks
from .ports import ContainerdClient

LEASE_PREFIX: Final = "wharfinger-pull-"
INGEST_PREFIX: Final = "wharfinger-pull-"
EXPIRES_S: Final = 24 * 3600.0
_CLEANUP_S: Final = 30.0  # deleting a lease runs the collector, which deletes the blobs

_log = logger.bind(service="registry")


def ingest_ref(digest: str) -> str:
    """The name of the ingest of a blob: the same whoever wants it, so that it is found again."""
    return INGEST_PREFIX + digest


class PullLeases:
    """Hands out leases by what is pulled. Several pulls may hold the same one."""

    def __init__(
        self,
        containerd: ContainerdClient,
        *,
        is_wanted: Callable[[str], bool],
        is_ending: Callable[[], bool],
    ) -> None:
        """`is_wanted`: whether somebody fetches this digest; `is_ending`: whether the daemon is
        asked to end, and what it has begun is worth keeping."""
        self._containerd, self._is_wanted, self._is_ending = containerd, is_wanted, is_ending
        self._held: Counter[str] = Counter()
        self._locks = KeyedLocks()

    @asynccontextmanager
    async def hold(self, what: str) -> AsyncIterator[str]:
        """Put what the block makes in containerd under the lease for `what`; its ID."""
        lease_id = LEASE_PREFIX + hashlib.sha256(what.encode()).hexdigest()[:24]
        async with self._locks.hold(lease_id):
            if not self._held[lease_id]:
                await self._create(lease_id)
            self._held[lease_id] += 1
        try:
            with self._containerd.lease(lease_id):
                yield lease_id
        except BaseException:
            await self._end(lease_id, failed=True)
            raise
        else:
            await self._end(lease_id, failed=False)

    async def drop_leftovers(self) -> None:
        """Take away what unfinished pulls of earlier daemons left, down to the bytes on disk."""
        for lease in await self._containerd.leases.list():
            if lease.id.startswith(LEASE_PREFIX):
                async with self._locks.hold(lease.id):
                    if not self._held[lease.id]:
                        await self._abort_ingests(lease.id)
                        await self._delete(lease.id, sync=True)

    async def _create(self, lease_id: str) -> None:
        """Make it, or take over what is left of the last one unless that may end at any moment."""
        try:
            await self._containerd.leases.create(lease_id, expires_s=EXPIRES_S)
        except AlreadyExists:
            found = await self._containerd.leases.list(f"id=={lease_id}")
            age_s = time.time() - min((lease.created_at_ns for lease in found), default=0) / 1e9
            if age_s < EXPIRES_S / 2:
                _log.info("pull goes on where an earlier one was cut off", lease=lease_id)
                return
            await self._delete(lease_id, sync=True)
            await self._containerd.leases.create(lease_id, expires_s=EXPIRES_S)

    async def _end(self, lease_id: str, *, failed: bool) -> None:
        with trio.move_on_after(_CLEANUP_S, shield=True) as scope:
            async with self._locks.hold(lease_id):
                self._held[lease_id] -= 1
                if self._held[lease_id]:
                    return
                del self._held[lease_id]
                if failed and self._is_ending():
                    return
                try:
                    if failed:
                        await self._abort_ingests(lease_id)
                    await self._delete(lease_id, sync=failed)
                except EngineError as error:  # it expires
                    _log.warning("lease not deleted", lease=lease_id, error=str(error))
        if scope.cancelled_caught:
            _log.error("lease not deleted in time", lease=lease_id, after_s=_CLEANUP_S)

    async def _abort_ingests(self, lease_id: str) -> None:
        """Blobs that were begun under the lease, and that nobody else goes on with."""
        try:
            resources = await self._containerd.leases.resources(lease_id)
        except NotFound:
            return
        for resource in resources:
            digest = resource.id.removeprefix(INGEST_PREFIX)
            if resource.type == "ingests" and not self._is_wanted(digest):
                try:
                    await self._containerd.content.abort(resource.id)
                except NotFound:
                    continue
                except EngineError as error:  # containerd may be writing still: the collector's
                    _log.debug("ingest not aborted", ref=resource.id, error=str(error))

    async def _delete(self, lease_id: str, *, sync: bool) -> None:
        try:
            await self._containerd.leases.delete(lease_id, sync=sync)
        except NotFound:
            return
