"""`records`: what is on disk is whole, without secrets, and survives what cannot be read."""

from __future__ import annotations

from pathlib import Path

import trio

from services.cluster.agent.holdings import Holdings, Kept
from services.cluster.agent.records import Records
from services.cluster.dispatcher.values import Assignments, NetworkView
from services.cluster.model.objects import NetworkKey
from services.cluster.model.wire import utc_now
from tests.services.cluster.agent.support import network, task


def records(folder: Path) -> Records:
    return Records(folder, disk=trio.CapacityLimiter(2))


async def test_tasks_come_back(tmp_path: Path) -> None:
    """The last state of each; none of those that were forgotten."""
    kept = records(tmp_path)
    for one in (task(task_id="a"), task(task_id="b"), task(task_id="a", slot=7)):
        await kept.put(one)
    await kept.delete("b")
    await kept.delete("never")
    tasks, _ = await records(tmp_path).load()
    assert tasks == [task(task_id="a", slot=7)]


async def test_nothing_on_disk(tmp_path: Path) -> None:
    """A node that begins has nothing."""
    assert await records(tmp_path / "new").load() == ([], Kept())


async def test_no_secrets_on_disk(tmp_path: Path) -> None:
    """Neither what a registry is shown nor networks' keys; and only root can read the rest."""
    kept = records(tmp_path / "agent")
    await kept.put(task(container={"registry_auth": "sesame"}))
    holdings = Holdings()
    holdings.take(
        Assignments(
            is_complete=True,
            networks=(NetworkView(network=network("net1", "back")),),
            network_keys=(NetworkKey(number=1, key="sesame", made_at=utc_now()),),
        )
    )
    await kept.keep(holdings.kept())
    files = [path for path in (tmp_path / "agent").rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert b"sesame" not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    tasks, rest = await records(tmp_path / "agent").load()
    assert tasks == [task()]
    assert [view.network.id for view in rest.networks] == ["net1"]


async def test_a_broken_record_is_set_aside(tmp_path: Path) -> None:
    """The others are taken up all the same."""
    kept = records(tmp_path)
    await kept.put(task(task_id="a"))
    (tmp_path / "tasks" / "b.json").write_text("{")
    (tmp_path / "node.json").write_bytes(b"\xff")
    tasks, rest = await records(tmp_path).load()
    assert ([one.id for one in tasks], rest) == (["a"], Kept())
    assert (tmp_path / "tasks" / "b.json.broken").exists()
    assert (tmp_path / "node.json.broken").exists()
