"""Containers on user-defined networks find each other, and others, by name; with the docker CLI."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from dnslib import RCODE, DNSRecord

from tests.support.crashable import CrashableDaemon, crashable_daemon
from tests.support.daemon import wait_until
from tests.support.dns_client import Client
from tests.support.resolver import TestResolver, absent, found, running_resolver

pytestmark = pytest.mark.clients

OUTSIDE = "192.0.2.7"
KNOWN_OUTSIDE = ("a.example", "short.corp.example")


@pytest.fixture(scope="module")
def resolver() -> Iterator[TestResolver]:
    """A resolver of the host, on a loopback address that only the host can reach."""

    def answer(query: DNSRecord, _: bool) -> DNSRecord:
        name = str(query.q.qname).rstrip(".")
        return found(query, OUTSIDE, ttl=0) if name in KNOWN_OUTSIDE else absent(query)

    address = f"127.53.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
    with running_resolver(answer, address=address, port=53) as running:
        yield running


@pytest.fixture(scope="module")
def dns_daemon(resolver: TestResolver) -> Iterator[CrashableDaemon]:
    """One daemon for all of this module, on a host with that resolver."""
    text = f"nameserver {resolver.address}\nsearch corp.example\n"
    with crashable_daemon(host_resolv_conf=text) as daemon:
        yield daemon
        log = daemon.log_text().replace("Injected: thrown by a test", "")
        assert "container without DNS" not in log


@pytest.fixture
def networks(dns_daemon: CrashableDaemon) -> Iterator[CrashableDaemon]:
    """Two networks; whatever a test makes in them is gone after it."""
    for name in ("one", "two"):
        dns_daemon.docker("network", "create", name)
    yield dns_daemon
    dns_daemon.remove_containers()
    for name in ("one", "two"):
        dns_daemon.docker("network", "rm", name)


def run(daemon: CrashableDaemon, name: str, *options: str, network: str = "one") -> str:
    """A container that sleeps; its id."""
    words = ("--name", name, "--network", network, *options)
    return daemon.docker("run", "-d", *words, "busybox", "sleep", "1000").text


def address(daemon: CrashableDaemon, name: str, network: str = "one") -> str:
    template = f"{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"
    return daemon.docker("inspect", name, "-f", template).text


def looked_up(daemon: CrashableDaemon, container: str, name: str) -> str:
    """What the container's own resolver finds; "" if nothing."""
    shell = f"ping -c1 -W1 {name} 2>&1 | sed -n 's/^PING [^(]*(\\([^)]*\\)).*/\\1/p'"
    return daemon.docker("exec", container, "sh", "-c", shell).text


def ask(daemon: CrashableDaemon, container: str, name: str, kind: str = "A") -> DNSRecord:
    """The answer to a question from within a container."""
    return trio.run(Client(namespace(daemon, container)).ask, name, kind)


def namespace(daemon: CrashableDaemon, container: str) -> Path:
    return daemon.exec_root / "netns" / daemon.docker("inspect", container, "-f", "{{.Id}}").text


def data(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


def test_names_come_and_go_with_their_containers(networks: CrashableDaemon) -> None:
    """By name, alias, host name, short id and name.network; renamed, disconnected, stopped."""
    daemon = networks
    web = run(daemon, "web", "--hostname", "shop", "--network-alias", "w")
    run(daemon, "box")
    own = address(daemon, "web")
    for name in ("web", "w", "shop", web[:12], "web.one", "WEB"):
        assert looked_up(daemon, "box", name) == own, name
    reverse = ".".join(reversed(own.split("."))) + ".in-addr.arpa"
    assert data(ask(daemon, "box", reverse, "PTR")) == ["web.one."]
    assert ask(daemon, "box", "web", "AAAA").header.rcode == RCODE.NOERROR

    daemon.docker("rename", "web", "shop2")
    assert looked_up(daemon, "box", "shop2") == own
    assert looked_up(daemon, "box", "web") == ""

    daemon.docker("network", "disconnect", "one", "shop2")
    assert looked_up(daemon, "box", "shop2") == ""
    daemon.docker("network", "connect", "--alias", "again", "one", "shop2")
    assert looked_up(daemon, "box", "again") == address(daemon, "shop2")
    daemon.docker("stop", "-t", "0", "shop2")
    assert looked_up(daemon, "box", "again") == ""


def test_a_name_of_several_is_all_of_them(networks: CrashableDaemon) -> None:
    """In turn, as `--network-alias` is used for."""
    daemon = networks
    for name in ("first", "second"):
        run(daemon, name, "--network-alias", "web")
    expected = {address(daemon, name) for name in ("first", "second")}
    answers = [data(ask(daemon, "first", "web")) for _ in range(4)]
    assert {answer[0] for answer in answers} == {*expected}
    assert all({*answer} == expected for answer in answers)


def test_links_are_one_containers_own(networks: CrashableDaemon) -> None:
    """`--link` within a user-defined network."""
    daemon = networks
    run(daemon, "postgres")
    run(daemon, "box", "--link", "postgres:db")
    run(daemon, "other")
    assert looked_up(daemon, "box", "db") == address(daemon, "postgres")
    assert looked_up(daemon, "other", "db") == ""


def test_a_second_network_brings_its_names_and_its_line(networks: CrashableDaemon) -> None:
    """In the DNS and in the hosts file; both go again. It may begin on the default bridge."""
    daemon = networks
    run(daemon, "there", network="two")
    run(daemon, "box", network="bridge")
    read = ("exec", "box", "cat", "/etc/hosts")
    before = daemon.docker(*read).text
    assert "127.0.0.11" not in daemon.docker("exec", "box", "cat", "/etc/resolv.conf").text
    daemon.docker("network", "connect", "two", "box")
    assert looked_up(daemon, "box", "there") == address(daemon, "there", "two")
    assert looked_up(daemon, "there", "box") == address(daemon, "box", "two")
    own = address(daemon, "box", "two")
    assert daemon.docker(*read).text.splitlines()[:-1] == before.splitlines()
    assert daemon.docker(*read).text.splitlines()[-1].split("\t")[0] == own
    daemon.docker("network", "disconnect", "two", "box")
    assert daemon.docker(*read).text == before
    assert looked_up(daemon, "there", "box") == ""


def test_an_edited_resolv_conf_is_left_alone(networks: CrashableDaemon) -> None:
    """Whoever wrote into it knows better."""
    daemon = networks
    run(daemon, "box", network="bridge")
    daemon.docker("exec", "box", "sh", "-c", "echo nameserver 192.0.2.1 > /etc/resolv.conf")
    daemon.docker("network", "connect", "one", "box")
    assert daemon.docker("exec", "box", "cat", "/etc/resolv.conf").text == "nameserver 192.0.2.1"


def test_the_hosts_resolver_is_asked_for_the_rest(
    networks: CrashableDaemon, resolver: TestResolver
) -> None:
    """Though it is on the host's loopback; with the host's search list, by the usual tools."""
    daemon = networks
    run(daemon, "box")
    text = daemon.docker("exec", "box", "cat", "/etc/resolv.conf").text
    assert "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n" in text
    assert f"# ExtServers: [host({resolver.address})]" in text
    assert data(ask(daemon, "box", "a.example")) == [OUTSIDE]
    assert ask(daemon, "box", "a.test").header.rcode == RCODE.NXDOMAIN
    assert looked_up(daemon, "box", "short") == OUTSIDE
    assert "short.corp.example" in resolver.names


def test_an_internal_network_is_not_led_out(networks: CrashableDaemon) -> None:
    """Names of containers it has; until it is in another network as well."""
    daemon = networks
    daemon.docker("network", "create", "--internal", "inside")
    try:
        run(daemon, "box", network="inside")
        assert data(ask(daemon, "box", "box")) == [address(daemon, "box", "inside")]
        assert ask(daemon, "box", "a.example").header.rcode == RCODE.SERVFAIL
        daemon.docker("network", "connect", "one", "box")
        assert data(ask(daemon, "box", "a.example")) == [OUTSIDE]
    finally:
        daemon.docker("rm", "-f", "box")
        daemon.docker("network", "rm", "inside")


def test_dns_options_of_a_container(networks: CrashableDaemon) -> None:
    """`--dns` is reached from the container; with `ndots` short names are the search list's."""
    daemon = networks
    template = "{{(index .IPAM.Config 0).Gateway}}"
    gateway = daemon.docker("network", "inspect", "one", "-f", template).text

    def answer(query: DNSRecord, _: bool) -> DNSRecord:
        return found(query, "192.0.2.9")

    with running_resolver(answer, address=gateway, port=53) as own:
        options = ("--dns", gateway, "--dns-search", "lan.example", "--dns-option", "ndots:2")
        run(daemon, "box", *options)
        text = daemon.docker("exec", "box", "cat", "/etc/resolv.conf").text
        assert "search lan.example\noptions ndots:2\n" in text
        assert data(ask(daemon, "box", "a.example")) == ["192.0.2.9"]
        assert (ask(daemon, "box", "short").header.rcode, own.names) == (0, ["a.example"])


def test_killed_under_load_it_costs_the_questions_under_way(networks: CrashableDaemon) -> None:
    """Of many that ask in turns nobody waits longer than a client does before it asks again."""
    daemon = networks
    run(daemon, "web")
    run(daemon, "box")
    expected = [address(daemon, "web")]
    with asking(namespace(daemon, "box"), "web") as answers:
        for _ in range(3):
            daemon.crash("root/engine/dns")
            wait_for_more(answers)
    assert all(answer == expected for answer in answers)


def test_a_killed_engine_is_followed_by_one_that_answers(networks: CrashableDaemon) -> None:
    """Containers that run are answered again, also who asks for those found running."""
    daemon = networks
    run(daemon, "web", "--network-alias", "w")
    run(daemon, "box")
    daemon.docker("network", "connect", "two", "web")
    daemon.kill()
    daemon.start()
    assert looked_up(daemon, "box", "w") == address(daemon, "web")
    assert data(ask(daemon, "box", "a.example")) == [OUTSIDE]
    daemon.docker("network", "disconnect", "one", "web")
    assert looked_up(daemon, "box", "w") == ""
    hosts = daemon.docker("exec", "web", "cat", "/etc/hosts").text
    assert hosts.splitlines()[-1].split("\t")[0] == address(daemon, "web", "two")


def wait_for_more(answers: list[list[str]]) -> None:
    """Questions are answered again."""
    enough = len(answers) + 50
    wait_until(lambda: len(answers) > enough, "no answers any more")


@contextmanager
def asking(place: Path, name: str) -> Iterator[list[list[str]]]:
    """Ask all the time; the answers are appended. A question without one fails."""
    answers: list[list[str]] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    async def ask_on() -> None:
        client = Client(place)
        while not ended.is_set():
            answers.append(data(await client.ask(name)))

    def work() -> None:
        try:
            trio.run(ask_on)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()
    assert not errors, errors
