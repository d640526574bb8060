"""The firewall's table on the real kernel: written, lost, restored; and its helper's death."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
import trio

from services.errors import EngineError, InvalidParameter, Unavailable
from services.networks.firewall import firewall as firewall_module
from services.networks.firewall.firewall import Firewall
from services.networks.firewall.network_rules import (
    FamilyRules,
    FirewallPolicy,
    GatewayMode,
    NetworkRules,
    PortTargets,
    Target,
)
from services.networks.nft.helper import HelperLost, Nft, running_helper
from services.networks.nft.table_listing import Difference
from services.networks.ports import PublishedPort

pytestmark = pytest.mark.engine

LIMIT_S = 30


def port(number: int, address: str = "0.0.0.0") -> PublishedPort:
    return PublishedPort(protocol="tcp", container_port=80, host_address=address, host_port=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A table's name, and a network for it."""

    table: str
    network: NetworkRules


def at(address: str) -> PortTargets:
    return PortTargets(ipv4=Target(bridge="wt", address=IPv4Address(address)))


@pytest.fixture
def rules() -> Iterator[Rules]:
    """A table of the test's own for a bridge that there is not."""
    name = f"wt{secrets.token_hex(3)}"
    table = f"wharfinger-{name}"
    family = FamilyRules(subnet=IPv4Network("10.99.0.0/24"))
    yield Rules(table=table, network=NetworkRules(bridge=name, ipv4=family))
    nft("delete", "table", "inet", table)


def nft(*arguments: str) -> str:
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def published(rules: Rules) -> set[int]:
    """The host ports in the table."""
    found = set()
    for name in ("pub4_any", "pub4_ip", "pub6_any", "pub6_ip"):
        text = nft("-j", "list", "map", "inet", rules.table, name)
        for entry in json.loads(text or "{}").get("nftables", []):
            for key, _ in entry.get("map", {}).get("elem", []):
                found.add(key["concat"][-1])
    return found


def shape(rules: Rules) -> set[str]:
    """The chains in the table."""
    text = nft("-j", "list", "table", "inet", rules.table)
    parts = json.loads(text)["nftables"]
    return {part["chain"]["name"] for part in parts if "chain" in part}


async def until(rules: Rules, expected: set[int]) -> None:
    with trio.fail_after(LIMIT_S):
        while published(rules) != expected:
            await trio.sleep(0.05)


async def settle(firewall: Firewall, helper: Nft) -> None:
    """Have the table written anew; until that is done it would undo what a test does to it."""
    await helper.ask(f"add table inet {firewall.table}\nadd chain inet {firewall.table} stale")
    firewall.settle()
    with trio.fail_after(LIMIT_S):
        while nft("list", "chain", "inet", firewall.table, "stale"):
            await trio.sleep(0.02)


def helper_pids() -> set[int]:
    """Our children that are helpers."""
    pids = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # threads end, and children do
            pids |= set(listing.read_text().split())
    found = set()
    for pid in pids:
        with suppress(OSError):
            if b"nft_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found


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


async def test_ports_come_and_go(rules: Rules) -> None:
    """Each in the map of its kind; a withdrawn one is there no more."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(rules.network)
        await firewall.publish("a", at("10.99.0.2"), [port(1), port(2, "127.0.0.1")])
        await firewall.publish("b", at("10.99.0.3"), [port(3)])
        assert published(rules) == {1, 2, 3}
        await firewall.withdraw("a")
        await firewall.withdraw("a")
        assert published(rules) == {3}
    assert helper_pids() == set()


async def test_a_table_that_was_deleted_is_restored(rules: Rules) -> None:
    """By whomever; also single elements."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(rules.network)
        await firewall.publish("a", at("10.99.0.2"), [port(1), port(2)])
        nft("delete", "table", "inet", rules.table)
        await until(rules, {1, 2})
        nft("flush", "map", "inet", rules.table, "pub4_any")
        await until(rules, {1, 2})
        nft("delete", "element", "inet", rules.table, "pub4_any", "{ tcp . 1 }")
        await firewall.withdraw("a")  # of which one element is gone already, or is there again
        await until(rules, set())


async def test_a_killed_helper_costs_nothing(rules: Rules) -> None:
    """What is asked of it at that moment is done by the next one."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(rules.network)
        await firewall.publish("a", at("10.99.0.2"), [port(1)])
        (pid,) = helper_pids()
        os.kill(pid, signal.SIGKILL)
        await firewall.publish("b", at("10.99.0.3"), [port(2)])
        assert published(rules) == {1, 2}
        (pid,) = helper_pids()
        nft("delete", "table", "inet", rules.table)
        os.kill(pid, signal.SIGKILL)
        await until(rules, {1, 2})


async def test_the_next_life_keeps_the_table_until_it_has_adopted(rules: Rules) -> None:
    """Ports of containers that run are never without their way; those of the dead go."""
    before = Firewall(table=rules.table)
    async with running(before):
        await before.set_network(rules.network)
        await before.publish("alive", at("10.99.0.2"), [port(1)])
        await before.publish("dead", at("10.99.0.3"), [port(2)])
    after = Firewall(table=rules.table)
    async with running(after):
        await after.set_network(rules.network)
        assert published(rules) == {1, 2}
        after.adopt("alive", at("10.99.0.2"), [port(1)])
        after.settle()
        await until(rules, {1})
        await after.withdraw("alive")
        assert published(rules) == set()


async def test_a_late_helper_delays_the_start_of_the_engine(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails no network; once all that ran is adopted, whoever needs it is told to come again."""
    monkeypatch.setattr(firewall_module, "READY_LIMIT_S", 0.05)
    firewall = Firewall(table=rules.table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(firewall.set_network, rules.network)
        await trio.sleep(0.3)
        await nursery.start(firewall.run)
        await firewall.publish("a", at("10.99.0.2"), [port(1)])
        assert published(rules) == {1}
        firewall.settle()
        nursery.cancel_scope.cancel()
    with pytest.raises(Unavailable, match="the firewall is not up"):
        await firewall.set_network(rules.network)


async def test_what_nft_refuses_leads_nowhere(rules: Rules) -> None:
    """The error is told, and the others' ports are there."""
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(rules.network)
        await firewall.publish("a", at("10.99.0.2"), [port(1)])
        with pytest.raises(EngineError, match="nft refused our rules"):
            await firewall.publish("b", at("10.99.0.3"), [replace(port(2), protocol="nonsense")])
        await firewall.publish("c", at("10.99.0.4"), [port(3)])
        assert published(rules) == {1, 3}


async def test_many_networks(rules: Rules) -> None:
    """Each has its chains, and takes them along; the others' stay. A name may be any link's."""
    firewall = Firewall(table=rules.table)
    second = NetworkRules(bridge="0:ä;{", ipv6=FamilyRules(subnet=IPv6Network("fd00:99::/64")))
    async with running(firewall):
        await firewall.set_network(rules.network)
        empty = shape(rules)
        await firewall.set_network(second)
        assert len(shape(rules)) == len(empty) + 4
        await firewall.set_network(second)
        await firewall.remove_network(second.bridge)
        await firewall.remove_network(second.bridge)
        assert shape(rules) == empty
        firewall.settle()
        await firewall.set_network(second)
        await firewall.set_network(replace(second, internal=True))
        assert 'oifname != "0:ä;{" drop' in nft("list", "table", "inet", rules.table)
        assert len(shape(rules)) == len(empty) + 4


@pytest.mark.parametrize("name", ["", "br*", 'a"b', "a b", "a\\", "sixteencharacter", "a\n"])
def test_names_that_no_link_has(name: str) -> None:
    """Refused before nft could take them for something else."""
    with pytest.raises(InvalidParameter, match="invalid network interface name"):
        NetworkRules(bridge=name)
    with pytest.raises(InvalidParameter):
        NetworkRules(bridge="br0", trusted_interfaces=(name,))


async def test_the_table_of_an_earlier_version_goes(rules: Rules) -> None:
    """Once all that runs has its ports in the new one, and not before."""
    nft("add", "table", "ip", rules.table)
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(rules.network)
        assert nft("list", "table", "ip", rules.table)
        firewall.settle()
        with trio.fail_after(LIMIT_S):
            while nft("list", "table", "ip", rules.table):
                await trio.sleep(0.05)
        await until(rules, set())


async def test_a_killed_helper_before_all_are_adopted(rules: Rules) -> None:
    """The next one amends the table that was found, and takes nothing from it."""
    before = Firewall(table=rules.table)
    async with running(before):
        await before.set_network(rules.network)
        await before.publish("alive", at("10.99.0.2"), [port(1)])
    after = Firewall(table=rules.table)
    async with running(after):
        await after.set_network(rules.network)
        (pid,) = helper_pids()
        os.kill(pid, signal.SIGKILL)
        await after.publish("new", at("10.99.0.3"), [port(2)])
        assert published(rules) == {1, 2}


async def test_ports_of_both_families(rules: Rules) -> None:
    """Each leads to the container's address of its own family; the second call replaces all."""
    both = replace(rules.network, ipv6=FamilyRules(subnet=IPv6Network("fd00:99::/64")))
    bridge = rules.network.bridge
    targets = PortTargets(
        ipv4=Target(bridge=bridge, address=IPv4Address("10.99.0.2")),
        ipv6=Target(bridge=bridge, address=IPv6Address("fd00:99::2")),
    )
    ports = [port(1), port(2, "::"), port(3, "::1"), port(4, "127.0.0.1")]
    firewall = Firewall(table=rules.table)
    async with running(firewall):
        await firewall.set_network(both)
        await firewall.publish("a", targets, ports)
        assert published(rules) == {1, 2, 3, 4}
        await firewall.publish("a", replace(targets, ipv6=None), ports)
        assert published(rules) == {1, 4}
        routed = Target(bridge=bridge, address=IPv4Address("10.99.0.2"), is_routed=True)
        await firewall.publish("a", replace(targets, ipv4=routed), ports)
        assert published(rules) == {2, 3}  # a routed family has none at the host
        await firewall.withdraw("a")
        assert "elements" not in nft("list", "set", "inet", rules.table, "direct4")


def test_iptables_is_opened_while_it_drops() -> None:
    """Whenever somebody sets its policy, for each network, until the end; and told apart."""
    code = f"import trio; from {__name__} import opened_while_it_drops as f; trio.run(f)"
    command = ["unshare", "--net", sys.executable, "-c", code]  # the policy is all the host's
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def opened_while_it_drops() -> None:
    """In a network namespace of its own."""
    network = NetworkRules(
        bridge="wt0", ipv4=FamilyRules(subnet=IPv4Network("10.99.0.0/24")), ipv6=None
    )
    wanted = [f"-A FORWARD -{end} wt0 " for end in "oi"]
    firewall = Firewall(table="wharfinger-wt0")
    async with running(firewall):
        await firewall.set_network(network)
        iptables("-P", "FORWARD", "DROP")
        await until_ours(wanted)
        iptables("-F", "FORWARD")
        await until_ours(wanted)
        await firewall.remove_network("wt0")
        await until_ours([])
        await firewall.set_network(network)
        await until_ours(wanted)
    await until_ours([])
    assert firewall.warnings == ()


async def until_ours(expected: list[str]) -> None:
    with trio.fail_after(LIMIT_S):
        while True:
            shown = iptables("-S", "FORWARD").splitlines()
            if [line.partition("-m")[0] for line in shown if "wharfinger" in line] == expected:
                return
            await trio.sleep(0.02)


def iptables(*arguments: str) -> str:
    done = subprocess.run(["iptables-nft", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def family(number: int, is_ipv6: bool, **options: Any) -> FamilyRules:
    subnet = IPv6Network(f"fd00:{number}::/64") if is_ipv6 else IPv4Network(f"10.99.{number}.0/24")
    return FamilyRules(subnet=subnet, **options)


def of_every_kind(prefix: str) -> list[NetworkRules]:
    """Networks with all that can be said of one."""
    found = [
        NetworkRules(bridge=f"{prefix}i", ipv4=family(1, False), internal=True),
        NetworkRules(
            bridge=f"{prefix}t",
            ipv4=family(2, False, host_address=IPv4Address("192.0.2.7")),
            trusted_interfaces=("zeta0", "alpha0", "mid0"),
        ),
        NetworkRules(bridge=f"{prefix},x", ipv4=family(3, False)),
    ]
    for number, mode in enumerate(GatewayMode, start=10):
        four, six = family(number, False, mode=mode), family(number, True, mode=mode)
        found.append(NetworkRules(bridge=f"{prefix}{number}", ipv4=four, ipv6=six))
    return found


@pytest.mark.parametrize(
    "policy",
    [FirewallPolicy(), FirewallPolicy(allow_direct_routing=True, accept_mark=(0x1, 0xFF))],
)
async def test_table_as_it_is_meant_differs_in_nothing(
    rules: Rules, policy: FirewallPolicy
) -> None:
    """However nft writes what it was told; and each thing that differs is named, and mended."""
    firewall = Firewall(table=rules.table, policy=policy)
    targets = replace(at("10.99.1.2"), ipv6=Target(bridge="wt", address=IPv6Address("fd00:1::2")))
    ports = [
        *(port(number) for number in range(1000, 1500)),
        port(1, "127.0.0.1"),
        port(2, "::"),
        port(3, "fd00::9"),
        replace(port(4), protocol="udp"),
        replace(port(5), protocol="sctp"),
    ]
    async with running(firewall), running_helper() as (helper, _):
        for network in of_every_kind(rules.network.bridge[:7]):
            await firewall.set_network(network)
        await firewall.publish("a", targets, ports)
        await settle(firewall, helper)
        assert await firewall.compare() == []
        damage = (
            "delete element inet {0} pub4_any {{ tcp . 1007 }}\n"
            'add element inet {0} bridges {{ "nobody" }}\n'
            "add chain inet {0} nobodys\n"
            "flush chain inet {0} guard\n"
        )
        await helper.ask(damage.format(rules.table))
        assert await firewall.compare() == [
            Difference(
                "chain guard", "it lacks the rule: iifname @bridges ip daddr 127.0.0.0/8 drop"
            ),
            Difference("chain nobodys", "it is in the firewall table, and nobody's"),
            Difference(
                "map pub4_any tcp . 1007 : 10.99.1.2 . 80",
                "it is missing from the firewall table",
            ),
            Difference('set bridges "nobody"', "it is in the firewall table, and nobody's"),
        ]
        await firewall.mend()
        assert await firewall.compare() == []
        await helper.ask(f"delete table inet {rules.table}")
        assert "chain forward" in {each.what for each in await firewall.compare()}
        await firewall.mend()
        assert await firewall.compare() == []


async def test_without_networks_no_table_is_meant(rules: Rules) -> None:
    """Nor before the engine knows what runs is anything told."""
    firewall = Firewall(table=rules.table)
    lost = f"add table inet {rules.table}\nadd chain inet {rules.table} lost"
    async with running(firewall), running_helper() as (helper, _):
        await helper.ask(lost)
        assert await firewall.compare() == []
        await settle(firewall, helper)
        assert await firewall.compare() == []
        await helper.ask(lost)
        (found,) = await firewall.compare()
        assert found.what == "chain lost"
        await firewall.mend()
        assert await firewall.compare() == []


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (signal.SIGSEGV, "another version of nftables has written"),
        (signal.SIGKILL, "helper has ended"),
    ],
)
async def test_how_the_helper_ended_is_told(end: signal.Signals, text: str) -> None:
    """A crash is libnftables': not to be able to read another one's tables is the reason known."""
    async with running_helper() as (helper, process):
        process.send_signal(end)
        with pytest.raises(HelperLost, match=text):
            await helper.ask("list tables")
