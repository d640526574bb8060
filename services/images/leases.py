"""Leases of ours: what is being made is kept by one, and falls to the collector with it.

A lease ends with its block. When the daemon dies inside, the lease expires by itself, and the next
start takes it away before: no work of ours can be under way then.
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
from .unpack import UNPACK_KEY_PREFIX

LEASE_PREFIX: Final = "wharfinger-images-"
EXPIRES_S: Final = 24 * 3600.0  # containerd's own default; longer than any upload lasts
_CLEANUP_S: Final = 30.0  # deleting a lease runs the collector, which deletes the blobs

_log = logger.bind(service="images")


@asynccontextmanager
async def working_lease(containerd: ContainerdClient) -> AsyncIterator[str]:
    """Put what the block makes in containerd under a new lease, whose ID the block gets.

    The block gives ingests names that begin with the ID. If it fails, everything that it made is
    gone when this ends; if not, whatever nothing refers to goes a little later.
    """
    lease_id = f"{LEASE_PREFIX}{secrets.token_hex(8)}"
    await containerd.leases.create(lease_id, expires_s=EXPIRES_S)
    try:
        with containerd.lease(lease_id):
            yield lease_id
    except BaseException:
        await _end(containerd, lease_id, collect_now=True)
        raise
    await _end(containerd, lease_id, collect_now=False)


async def remove_leftovers(containerd: ContainerdClient) -> None:
    """Take away what a daemon that was killed had under way. For the start, before any work."""
    for status in await containerd.content.statuses():
        if status.ref.startswith(LEASE_PREFIX):
            await containerd.content.abort(status.ref)
    for lease in await containerd.leases.list():
        if lease.id.startswith(LEASE_PREFIX):
            _log.info("unfinished work of an earlier run removed", lease=lease.id)
            await containerd.leases.delete(lease.id, sync=True)
    for snapshot in await containerd.snapshots.list():
        if snapshot.name.startswith(UNPACK_KEY_PREFIX):
            await containerd.snapshots.remove(snapshot.name)


async def _end(containerd: ContainerdClient, lease_id: str, *, collect_now: bool) -> None:
    with trio.move_on_after(_CLEANUP_S, shield=True) as scope:
        try:
            if collect_now:
                await _abort_ingests(containerd, lease_id)
            await containerd.leases.delete(lease_id, sync=collect_now)
        except NotFound:
            pass
        except EngineError as error:  # it expires, and the next start takes it
            _log.warning("lease not deleted", lease=lease_id, error=str(error))
    if scope.cancelled_caught:
        _log.error("lease not deleted in time", lease=lease_id, after_s=_CLEANUP_S)


async def _abort_ingests(containerd: ContainerdClient, lease_id: str) -> None:
    for status in await containerd.content.statuses():
        if status.ref.startswith(lease_id):
            await containerd.content.abort(status.ref)
