"""services.containers.execs.table: what is known of execs, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.containers.container import Container
from services.containers.execs.exec import Exec, ExecConfig
from services.containers.execs.table import KEPT_AFTER_END, KEPT_UNSTARTED, ExecTable
from services.containers.stdio import Stdio
from services.errors import NotFound
from tests.services.containers.support import container


def added(table: ExecTable, owner: Container) -> Exec:
    """A new exec in the table."""
    streams = Stdio(directory=Path("/nowhere"), tty=False, stdin=False, log=None)
    exec_ = Exec(owner, ExecConfig(cmd=["true"]), streams)
    table.add(exec_)
    return exec_


def started(table: ExecTable, owner: Container) -> Exec:
    """One that runs."""
    exec_ = added(table, owner)
    exec_.was_started = True
    return exec_


def test_unended_are_those_of_one_container() -> None:
    """Until they have ended; then they are still found by their ids."""
    table, one, other = ExecTable(), container(), container(container_id="d" * 64)
    first, second, _ = added(table, one), added(table, one), added(table, other)
    assert [*table.unended(one)] == [first, second]
    table.end(first)
    assert first.ended.is_set()
    assert [*table.unended(one)] == [second]
    assert table.find(first.id) is first


def test_ended_ones_are_kept_up_to_a_bound() -> None:
    """In the order of their ends; those that go on are never forgotten."""
    table, owner = ExecTable(), container()
    going_on = added(table, owner)
    going_on.was_started = True
    ended = [started(table, owner) for _ in range(KEPT_AFTER_END + 5)]
    for exec_ in reversed(ended):
        table.end(exec_)
    assert len(table) == KEPT_AFTER_END + 1
    assert table.find(going_on.id) is going_on
    assert table.find(ended[0].id) is ended[0]
    with pytest.raises(NotFound, match=f"No such exec instance: {ended[-1].id}"):
        table.find(ended[-1].id)


def test_those_that_nobody_starts_are_kept_up_to_a_bound() -> None:
    """The oldest is forgotten; those that run are not."""
    table, owner = ExecTable(), container()
    running = added(table, owner)
    running.was_started = True
    made = [added(table, owner) for _ in range(KEPT_UNSTARTED + 5)]
    assert len(table) == KEPT_UNSTARTED + 1
    assert table.find(running.id) is running
    assert table.find(made[-1].id) is made[-1]
    with pytest.raises(NotFound):
        table.find(made[0].id)


def test_a_container_takes_its_execs_with_it() -> None:
    """Nothing of them is left, also when one ends afterwards."""
    table, one, other = ExecTable(), container(), container(container_id="d" * 64)
    gone, stays = [added(table, one) for _ in range(3)], added(table, other)
    table.end(gone[0])
    table.forget(one)
    table.end(gone[1])
    table.forget_one(gone[2])
    assert len(table) == 1
    assert [*table.unended(one)] == []
    assert [*table.unended(other)] == [stays]
