"""Other tools' chains that drop: opened where iptables made them, named where nobody knows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Network, IPv6Network

import pytest

from services.errors import EngineError
from services.networks.firewall import foreign_legacy
from services.networks.firewall.foreign import ForeignChains
from services.networks.firewall.foreign_legacy import open_legacy_chains
from services.networks.firewall.foreign_rules import (
    ForeignChain,
    Opening,
    dropping_chains,
    openings,
    reopened,
)
from services.networks.firewall.network_rules import FamilyRules, FirewallPolicy, NetworkRules
from services.networks.firewall.ruleset import whole_table
from tests.support.lab import Lab, running_lab

pytestmark = pytest.mark.engine

BRIDGE, TABLE = "br-first", "wharfinger-wl"
UFW = """\
table ip filter {
\tchain FORWARD { # handle 1
\t\ttype filter hook forward priority filter; policy drop;
\t\tjump DOCKER-USER # handle 2
\t\toifname "br-first" counter accept comment "wharfinger-wl" # handle 3
\t\tiifname "br-gone" counter accept comment "wharfinger-wl" # handle 4
\t\tiifname "br-x" counter accept comment "another's" # handle 5
\t}
\tchain DOCKER-USER { # handle 9
\t}
}
table inet mine {
\tchain forward {
\t\ttype filter hook forward priority filter; policy accept;
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t}
}
table inet own {
\tchain forwarding {
\t\ttype filter hook forward priority filter - 5; policy drop;
\t}
}
table bridge filter {
\tchain FORWARD {
\t\ttype filter hook forward priority filter; policy drop;
\t}
}
"""


def test_chains_that_drop() -> None:
    """By their policy, where packets are forwarded; iptables' own are known."""
    chains = dropping_chains(UFW)
    assert [str(chain) for chain in chains] == ["ip filter FORWARD", "inet own forwarding"]
    assert [chain.is_iptables for chain in chains] == [True, False]


def test_what_is_missing_is_added_and_what_is_over_is_taken() -> None:
    """Our own rules only; nothing is written if all is as it should be."""
    chain = ForeignChain("ip", "filter", "FORWARD")
    present = openings(UFW, TABLE)
    assert present == [Opening("oifname", "br-first", 3), Opening("iifname", "br-gone", 4)]
    assert reopened(chain, present, ["br-first"], TABLE).splitlines() == [
        "delete rule ip filter FORWARD handle 4",
        f'add rule ip filter FORWARD iifname "br-first" counter accept comment "{TABLE}"',
    ]
    whole = [Opening(direction, "br-first", 1) for direction in ("oifname", "iifname")]
    assert reopened(chain, whole, ["br-first"], TABLE) == ""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A bridge with a container, and a neighbour."""
    with running_lab({BRIDGE: ["a"]}) as lab:
        lab.listen("outside", 81)
        network = NetworkRules(
            bridge=BRIDGE,
            ipv4=FamilyRules(subnet=IPv4Network("10.99.0.0/24")),
            ipv6=FamilyRules(subnet=IPv6Network("fd00:99:0::/64")),
        )
        text = whole_table(TABLE, FirewallPolicy(), {BRIDGE: network}, {})
        lab.host.run("nft", "-f", "-", text=text)
        yield lab


class Helper:
    """nft in the lab's host."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def ask(self, script: str) -> str:
        return self._lab.host.run("nft", "-a", "-s", "-f", "-", text=script + "\n")


OUT = [("a", "192.0.2.2", 81), ("a", "2001:db8::2", 81)]


def is_open(lab: Lab) -> bool:
    """Whether the container gets out, in both families."""
    return set(lab.reached(OUT)) == set(OUT)


def is_closed(lab: Lab) -> bool:
    """Whether it does not, in either."""
    return lab.reached([], OUT) == {}


async def test_iptables_policy_is_opened_and_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real packets pass a FORWARD that drops; iptables shows why; nothing stays behind."""
    monkeypatch.setattr("services.networks.firewall.foreign.open_legacy_chains", lambda *_: None)
    for program in ("iptables-nft", "ip6tables-nft"):
        lab.host.run(program, "-P", "FORWARD", "DROP")
    before = lab.host.run("iptables-nft", "-S", "FORWARD")
    assert is_closed(lab)
    chains, helper = ForeignChains(comment=TABLE), Helper(lab)
    await chains.open(helper, [BRIDGE])
    await chains.open(helper, [BRIDGE])
    assert is_open(lab)
    shown = lab.host.run("iptables-nft", "-S", "FORWARD").splitlines()
    assert [line for line in shown if TABLE in line] == [
        f"-A FORWARD -{end} {BRIDGE} -m comment --comment {TABLE} -j ACCEPT" for end in "oi"
    ]
    assert chains.warnings == ()
    await chains.open(helper, [])
    assert lab.host.run("iptables-nft", "-S", "FORWARD") == before
    for program in ("iptables-nft", "ip6tables-nft"):
        lab.host.run(program, "-P", "FORWARD", "ACCEPT")


async def test_a_chain_of_somebodys_own_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what it is for: it is not touched, and told of until it is gone."""
    monkeypatch.setattr("services.networks.firewall.foreign.open_legacy_chains", lambda *_: None)
    rules = "type filter hook forward priority 0; policy drop;"
    text = f"table inet own {{\nchain forwarding {{ {rules} }}\n}}\n"
    lab.host.run("nft", "-f", "-", text=text)
    chains, helper = ForeignChains(comment=TABLE), Helper(lab)
    await chains.open(helper, [BRIDGE])
    (warning,) = chains.warnings
    assert "the chain inet own forwarding drops" in warning
    lab.host.run("nft", "delete", "table", "inet", "own")
    await chains.open(helper, [BRIDGE])
    assert chains.warnings == ()


def test_legacy_iptables(lab: Lab) -> None:
    """The same where iptables speaks to the old tables; which are not made by looking at them."""
    names = "/proc/thread-self/net/ip_tables_names"
    look = partial(open_legacy_chains, [BRIDGE], TABLE)
    lab.host.inside(look)
    assert lab.host.inside(partial(read, names)) == ""
    lab.host.run("iptables-legacy", "-P", "FORWARD", "DROP")
    lab.host.run("ip6tables-legacy", "-P", "FORWARD", "DROP")
    before = lab.host.run("iptables-legacy", "-S", "FORWARD")
    assert is_closed(lab)
    lab.host.inside(look)
    lab.host.inside(look)
    assert is_open(lab)
    assert lab.host.run("iptables-legacy", "-S", "FORWARD").count(TABLE) == 2
    lab.host.run("ip6tables-legacy", "-P", "FORWARD", "ACCEPT")
    lab.host.inside(look)
    assert TABLE not in lab.host.run("ip6tables-legacy", "-S", "FORWARD")
    lab.host.inside(partial(open_legacy_chains, [], TABLE))
    assert lab.host.run("iptables-legacy", "-S", "FORWARD") == before


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def test_legacy_iptables_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told, whatever it was: no program, or what the program says."""

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "iptables-legacy")

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(EngineError, match=r"iptables-legacy: .*No such file"):
        foreign_legacy._run("iptables-legacy", "-S")
