"""Members of etcd for tests: real ones, with folders and ports of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.command import MemberConfig
from services.cluster.etcd.process import EtcdProcess
from services.cluster.store.store import EtcdStore
from tests.support.ports import free_port

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is missing")


@contextmanager
def member_config(
    name: str = "a", joins: Mapping[str, str] | None = None, peer_url: str = ""
) -> Iterator[MemberConfig]:
    """A member with nothing on disk yet; the folder is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    try:
        yield MemberConfig(
            name=name,
            folder=folder / "etcd",
            listen_host="127.0.0.1",
            peer_url=peer_url or f"http://127.0.0.1:{free_port()}",
            tls=None,
            joins=joins or {},
        )
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class RunningMember:
    """One that serves."""

    config: MemberConfig
    client: EtcdClient
    pid: int
    scope: trio.CancelScope  # of process and connection: cancelling it stops both


@asynccontextmanager
async def running(config: MemberConfig) -> AsyncIterator[RunningMember]:
    """Within the block the member runs, and there is a connection to it."""
    client = EtcdClient(config.socket)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            pid = await nursery.start(EtcdProcess(config).run)
            await nursery.start(client.connection.run)
            await client.connection.wait_ready()
            yield RunningMember(config, client, pid, nursery.cancel_scope)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_store(client: EtcdClient) -> AsyncIterator[EtcdStore]:
    """Within the block there is a store over the member, which has read everything."""
    store = EtcdStore(client)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await store.wait_ready()
        yield store
        nursery.cancel_scope.cancel()
