"""The firewall's table on the real kernel: written, lost, restored; and its helper's death."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import trio

from services.errors import EngineError
from services.networks.firewall import Firewall
from services.networks.nft import HelperLost
from services.networks.ports import PublishedPort
from services.networks.ruleset import BridgeRules

pytestmark = pytest.mark.engine

LIMIT_S = 30


def port(number: int, address: str = "0.0.0.0") -> PublishedPort:
    return PublishedPort(protocol="tcp", container_port=80, host_address=address, host_port=number)


@pytest.fixture
def rules() -> Iterator[BridgeRules]:
    """A table of the test's own for a bridge that there is not."""
    name = f"wt{secrets.token_hex(3)}"
    table = f"wharfinger-{name}"
    subnet = IPv4Network("10.99.0.0/24")
    yield BridgeRules(table=table, bridge=name, subnet=subnet, masquerade=True)
    nft("delete", "table", "ip", table)


def nft(*arguments: str) -> str:
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def published(rules: BridgeRules) -> set[int]:
    """The host ports in the table."""
    found = set()
    for name in ("pub_any", "pub_ip"):
        text = nft("-j", "list", "map", "ip", rules.table, name)
        for entry in json.loads(text or "{}").get("nftables", []):
            for key, _ in entry.get("map", {}).get("elem", []):
                found.add(key["concat"][-1])
    return found


async def until(rules: BridgeRules, expected: set[int]) -> None:
    with trio.fail_after(LIMIT_S):
        while published(rules) != expected:
            await trio.sleep(0.05)


def helper_pids() -> set[int]:
    """Our children that are helpers."""
    pids = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        pids |= set(listing.read_text().split())
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    return {pid for pid, command in commands.items() if b"nft_process" in command}


@asynccontextmanager
async def running(firewall: Firewall) -> AsyncIterator[None]:
    """The firewall, started anew when its helper has ended."""

    async def keep(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            try:
                await firewall.run(task_status=task_status)
            except HelperLost:
                task_status = trio.TASK_STATUS_IGNORED

    async with trio.open_nursery() as nursery:
        await nursery.start(keep)
        yield
        nursery.cancel_scope.cancel()


async def test_ports_come_and_go(rules: BridgeRules) -> None:
    """Each in the map of its kind; a withdrawn one is there no more."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.install(rules)
        await firewall.publish("a", "10.99.0.2", [port(1), port(2, "127.0.0.1")])
        await firewall.publish("b", "10.99.0.3", [port(3)])
        assert published(rules) == {1, 2, 3}
        await firewall.withdraw("a")
        await firewall.withdraw("a")
        assert published(rules) == {3}
    assert helper_pids() == set()


async def test_a_table_that_was_deleted_is_restored(rules: BridgeRules) -> None:
    """By whomever; also single elements."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.install(rules)
        await firewall.publish("a", "10.99.0.2", [port(1), port(2)])
        nft("delete", "table", "ip", rules.table)
        await until(rules, {1, 2})
        nft("flush", "map", "ip", rules.table, "pub_any")
        await until(rules, {1, 2})
        nft("delete", "element", "ip", rules.table, "pub_any", "{ tcp . 1 }")
        await firewall.withdraw("a")  # of which one element is gone already, or is there again
        await until(rules, set())


async def test_a_killed_helper_costs_nothing(rules: BridgeRules) -> None:
    """What is asked of it at that moment is done by the next one."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.install(rules)
        await firewall.publish("a", "10.99.0.2", [port(1)])
        (pid,) = helper_pids()
        os.kill(pid, signal.SIGKILL)
        await firewall.publish("b", "10.99.0.3", [port(2)])
        assert published(rules) == {1, 2}
        (pid,) = helper_pids()
        nft("delete", "table", "ip", rules.table)
        os.kill(pid, signal.SIGKILL)
        await until(rules, {1, 2})


async def test_the_next_life_keeps_the_table_until_it_has_adopted(rules: BridgeRules) -> None:
    """Ports of containers that run are never without their way; those of the dead go."""
    before = Firewall(table=rules.table)
    async with running(before):
        await before.install(rules)
        await before.publish("alive", "10.99.0.2", [port(1)])
        await before.publish("dead", "10.99.0.3", [port(2)])
    after = Firewall(table=rules.table)
    async with running(after):
        await after.install(rules)
        assert published(rules) == {1, 2}
        after.adopt("alive", "10.99.0.2", [port(1)])
        after.settle()
        await until(rules, {1})
        await after.withdraw("alive")
        assert published(rules) == set()


async def test_what_nft_refuses_leads_nowhere(rules: BridgeRules) -> None:
    """The error is told, and the others' ports are there."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.install(rules)
        await firewall.publish("a", "10.99.0.2", [port(1)])
        with pytest.raises(EngineError, match="nft refused our rules"):
            await firewall.publish("b", "no address", [port(2)])
        await firewall.publish("c", "10.99.0.4", [port(3)])
        assert published(rules) == {1, 3}
