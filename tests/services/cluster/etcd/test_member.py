"""A real member of etcd: its process, its keys, its leases, and others that join it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME, LeaseGone
from services.cluster.etcd.process import EtcdProcess, MemberRemoved
from services.cluster.etcd.values import Created, Deleted, DeleteKey, KeyValue, Modified, PutKey
from services.cluster.etcd.watch import watching
from services.errors import Conflict, Unavailable
from tests.services.cluster.etcd_fixtures import member_config, needs_etcd, running
from tests.support.ports import free_port

pytestmark = needs_etcd


async def test_keys_are_written_if_the_conditions_hold() -> None:
    """All or none; a refusal tells what was found. Pages show what is there."""
    with member_config() as config:
        async with running(config) as member:
            client = member.client
            writes = [PutKey("/a", b"1"), PutKey("/b", b"")]
            first = await client.transact([Modified("/a", 0)], writes)
            assert first.is_done
            refused = await client.transact(
                [Modified("/a", first.revision), Created("/b", 0)], [DeleteKey("/a")]
            )
            assert not refused.is_done
            assert [(key.key, key.value, key.modified) for key in refused.found] == [
                ("/a", b"1", first.revision), ("/b", b"", first.revision),
            ]  # fmt: skip
            page = await client.page("/", "0")
            assert [key.key for key in page.keys] == ["/a", "/b"]
            assert (page.revision, page.next_key) == (first.revision, "")


async def test_a_watch_tells_all_changes_after_a_revision() -> None:
    """In their order, deletions too, each batch up to a revision."""
    with member_config() as config:
        async with running(config) as member:
            client = member.client
            first = await client.transact([], [PutKey("/a", b"1")])
            await client.transact([], [PutKey("/a", b"2"), PutKey("/other", b"")])
            last = await client.transact([], [DeleteKey("/a")])
            events: list[KeyValue | Deleted] = []
            async with watching(client, "/a", after=first.revision) as watch:
                while not events or events[-1].modified < last.revision:
                    batch = await watch.next()
                    events += batch.events
                    assert batch.revision == events[-1].modified
            assert [type(event) for event in events] == [KeyValue, Deleted]


async def test_a_lease_that_nobody_keeps_takes_its_keys_along() -> None:
    """A beat keeps it; without one it ends, and a beat then says so."""
    with member_config() as config:
        async with running(config) as member:
            client = member.client
            lease = await client.grant(1)
            await client.transact([], [PutKey("/a", b"", lease)])
            async with client.keeper() as keeper, watching(client, "/a", after=1) as watch:
                await watch.next()
                await keeper.beat(lease)
                batch = await watch.next()
                assert isinstance(batch.events[0], Deleted)
                with pytest.raises(LeaseGone):
                    await keeper.beat(lease)


async def test_a_killed_member_is_reported_and_starts_again_with_what_it_had() -> None:
    """Its socket, which it leaves behind, does not keep the next one from starting."""
    with member_config() as config:
        with pytest.RaisesGroup(Unavailable, flatten_subgroups=True) as caught:
            async with running(config) as member:
                await member.client.transact([], [PutKey("/a", b"kept")])
                os.kill(member.pid, signal.SIGKILL)
                await trio.sleep_forever()
        assert f"etcd (pid {member.pid}) ended with status -9" in str(caught.value.exceptions[0])
        assert config.socket.exists()
        async with running(config) as member:
            page = await member.client.page("/", "0")
            assert [key.value for key in page.keys] == [b"kept"]


async def test_etcd_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its last words are in the error."""
    with member_config() as config:
        config.folder.mkdir()
        config.data.write_text("not a folder")
        with pytest.raises(Unavailable, match=r"ended with status 1.*not a directory"):
            await EtcdProcess(config).run()


def test_etcd_does_not_outlive_a_killed_daemon() -> None:
    """The kernel ends it with us, so that port and data are free for the next."""
    program = (
        "import sys, trio\n"
        "from tests.services.cluster.etcd_fixtures import member_config, running\n"
        "async def main():\n"
        "    with member_config() as config:\n"
        "        async with running(config) as member:\n"
        "            print(member.pid, config.folder.parent, flush=True)\n"
        "            await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    daemon = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    pid, folder = daemon.stdout.readline().split()
    pidfd = os.pidfd_open(int(pid))
    try:
        daemon.kill()
        daemon.wait()

        async def ended() -> None:
            with trio.fail_after(60):
                await trio.lowlevel.wait_readable(pidfd)

        trio.run(ended)
    finally:
        os.close(pidfd)
        subprocess.run(["rm", "-r", folder], check=True)


async def test_members_join_as_learners_fail_without_a_quorum_and_are_removed() -> None:
    """A learner catches up and votes; two that are parted decide nothing, and one that is
    removed says so and ends."""
    url = f"http://127.0.0.1:{free_port()}"
    with member_config("a") as first, member_config("b", peer_url=url) as fresh:
        async with running(first) as a:
            added, members = await a.client.add_learner(url)
            assert added.is_learner
            assert [member.peer_urls for member in members if member.name == "a"] == [
                (first.peer_url,)
            ]
            joins = {"a": first.peer_url, "b": url}
            second = type(fresh)(
                name="b", folder=fresh.folder, listen_host="127.0.0.1", peer_url=url, tls=None,
                joins=joins,
            )  # fmt: skip
            async with running(second) as b:
                await promoted(a.client, added.id)
                await written(b.client)
                assert {member.name for member in await a.client.members()} == {"a", "b"}
                b.scope.cancel()
            with pytest.raises(UNKNOWN_OUTCOME):
                await written_until_refused(a.client)
            client = EtcdClient(second.socket)
            with pytest.RaisesGroup(MemberRemoved):
                async with trio.open_nursery() as nursery:
                    await nursery.start(EtcdProcess(second).run)
                    await nursery.start(client.connection.run)
                    await client.connection.wait_ready()
                    await removed(a.client, added.id)
            assert [member.name for member in await a.client.members()] == ["a"]


async def promoted(client: EtcdClient, id: int) -> None:
    while True:
        try:
            return await client.promote(id)
        except Conflict:
            await trio.sleep(0.02)


async def written(client: EtcdClient) -> None:
    """It votes a moment before it knows."""
    while True:
        try:
            await client.transact([], [PutKey("/b", b"")])
        except Unavailable:
            await trio.sleep(0.02)
        else:
            return


async def removed(client: EtcdClient, id: int) -> None:
    while True:
        try:
            return await client.remove(id)
        except Unavailable:
            await trio.sleep(0.05)


async def written_until_refused(client: EtcdClient) -> None:
    """A leader that hears of nobody finds out within its election time-out."""
    while True:
        await client.transact([], [PutKey("/lonely", b"")])
        await trio.sleep(0.05)
