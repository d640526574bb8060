"""The DNS server in real namespaces: what a container asks at 127.0.0.11 is answered."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord, EDNSOption

from services.errors import EngineError
from services.networks.dns import Dns, NameBook, NamedEndpoint, Resolver, wire
from services.networks.dns.serving import MOST_CONNECTIONS
from services.networks.kernel.netns import drop_namespace, in_namespace
from tests.support.clocks import wait_settled
from tests.support.dns_client import Client
from tests.support.resolver import TestResolver, absent, failed, found, running_resolver

pytestmark = pytest.mark.engine

ME = "c0ffee" * 10
LIMIT_S = 20.0
SIOCGSKNS = 0x894C


def data(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


def book(*, leads_out: bool = True) -> NameBook:
    names = NameBook()
    names.put("n1", entry(ME, "10.9.0.2", "fd00::2", names=("me",), leads_out=leads_out))
    names.put("n1", entry("other", "10.9.0.3", names=("web", "alias"), leads_out=leads_out))
    return names


def entry(
    container: str, *addresses: str, names: tuple[str, ...], leads_out: bool = True
) -> NamedEndpoint:
    return NamedEndpoint(
        container_id=container,
        network="net",
        names=names,
        addresses=tuple(ip_address(one) for one in addresses),
        leads_out=leads_out,
    )


@asynccontextmanager
async def running(dns: Dns) -> AsyncIterator[Callable[[], None]]:
    """The server as its supervisor keeps it; what it yields kills the child."""
    scopes: list[trio.CancelScope] = []

    async def keep(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        status = task_status
        while True:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                async with trio.open_nursery() as nursery:
                    await nursery.start(dns.run)
                    status.started()
                    status = trio.TASK_STATUS_IGNORED
            assert scope.cancelled_caught

    async with trio.open_nursery() as nursery:
        await nursery.start(keep)
        yield lambda: scopes[-1].cancel()
        for container in dns.served:
            dns.stop(container)
        await wait_settled()
        nursery.cancel_scope.cancel()


def given(resolver: TestResolver) -> Resolver:
    """A resolver in the host's namespace."""
    return Resolver(resolver.address, from_host=True, port=resolver.port)


async def test_names_addresses_and_their_loss(namespace: Path) -> None:
    """By UDP and TCP, forward and back; a change of the book is seen by the next question."""
    dns = Dns(book())
    client = Client(namespace)
    async with running(dns):
        await dns.serve(ME, namespace, resolvers=())
        assert data(await client.ask("web")) == ["10.9.0.3"]
        assert data(await client.ask("ALIAS.net")) == ["10.9.0.3"]
        assert data(await client.ask("me", "AAAA")) == ["fd00::2"]
        assert data(await client.ask("3.0.9.10.in-addr.arpa", "PTR")) == ["web.net."]
        async with await client.connect() as stream:
            for name, address in (("web", "10.9.0.3"), ("me", "10.9.0.2")):
                query = DNSRecord.question(name)
                assert data(await client.exchange_by_tcp(stream, query)) == [address]
        dns.names.remove("n1", "other")
        assert (await client.ask("web")).header.rcode == RCODE.SERVFAIL


async def test_the_container_may_have_a_server_of_its_own_on_port_53(namespace: Path) -> None:
    """Of every address at once: the port itself is not taken."""
    dns = Dns(book())
    async with running(dns):
        await dns.serve(ME, namespace, resolvers=())
        with in_namespace(
            namespace, partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        ) as own:
            own.bind(("0.0.0.0", 53))
            own.settimeout(LIMIT_S)
            asked = Client(namespace, ("127.0.0.1", 53))
            with await asked.send(DNSRecord.question("x")):
                assert DNSRecord.parse(own.recv(512)).q.qname == "x."
            assert data(await Client(namespace).ask("web")) == ["10.9.0.3"]


async def test_others_are_asked_for_what_nobody_here_has(namespace: Path) -> None:
    """By the way the question came, with its EDNS as it was; what is known is not asked again."""
    with running_resolver(lambda query, _: found(query, "192.0.2.1")) as resolver:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(resolver)])
            query = DNSRecord.question("Example.org")
            query.add_ar(EDNS0(udp_len=1400, flags="do", opts=[EDNSOption(10, b"12345678")]))
            assert data(await client.exchange(query)) == ["192.0.2.1"]
            assert resolver.queries[0][2:] == query.pack()[2:]
            async with await client.connect() as stream:
                query = DNSRecord.question("tcp.org")
                assert data(await client.exchange_by_tcp(stream, query)) == ["192.0.2.1"]
            for _ in range(2):
                assert data(await client.ask("once.org")) == ["192.0.2.1"]
        assert resolver.asked == [
            ("Example.org", "A", False),
            ("tcp.org", "A", True),
            ("once.org", "A", False),
        ]


async def test_ids_and_ports_are_drawn_anew(namespace: Path) -> None:
    """The number that a container chose is no help to whoever wants to forge an answer."""
    with running_resolver(lambda query, _: found(query, "192.0.2.1", ttl=0)) as resolver:
        dns = Dns(book())
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(resolver)])
            for _ in range(20):
                query = DNSRecord.question("a.org")
                query.header.id = 7
                await Client(namespace).exchange(query)
        ids = [int.from_bytes(data[:2], "big") for data in resolver.queries]
        assert len(set(ids)) > 15


async def test_forged_answers_are_not_taken(namespace: Path) -> None:
    """Under another number, or to another question: the true one that follows is."""

    def answer(query: DNSRecord, _: bool) -> DNSRecord:
        return found(query, "192.0.2.1")

    dns = Dns(book())
    client = Client(namespace)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        server = trio.socket.from_stdlib_socket(udp)
        async with running(dns), trio.open_nursery() as nursery:
            resolver = Resolver("127.0.0.1", from_host=True, port=udp.getsockname()[1])
            await dns.serve(ME, namespace, resolvers=[resolver])

            async def forge() -> None:
                packed, asker = await server.recvfrom(512)
                query = DNSRecord.parse(packed)
                other = DNSRecord.question("b.org")
                other.header.id = query.header.id
                wrong_id = found(query, "192.0.2.66")
                wrong_id.header.id ^= 1
                for message in (found(other, "192.0.2.66"), wrong_id, answer(query, False)):
                    await server.sendto(message.pack(), asker)

            nursery.start_soon(forge)
            assert data(await client.ask("a.org")) == ["192.0.2.1"]


async def test_a_resolver_that_is_silent_delays_only_what_needs_it(
    namespace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of containers are answered meanwhile; from then on the other one is asked first."""
    monkeypatch.setattr("services.networks.dns.upstream.PATIENCE_S", 2.0)
    with (
        running_resolver(lambda *_: None) as silent,
        running_resolver(lambda query, _: found(query, "192.0.2.1")) as other,
    ):
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(silent), given(other)])
            with await client.send(DNSRecord.question("slow.org")) as waiting:
                for _ in range(10):
                    assert data(await client.ask("web")) == ["10.9.0.3"]
                assert other.names == []  # it has not been waited for
                with trio.fail_after(LIMIT_S):
                    assert data(DNSRecord.parse(await waiting.recv(512))) == ["192.0.2.1"]
            assert data(await client.ask("next.org")) == ["192.0.2.1"]
        assert silent.names == ["slow.org"]
        assert other.names == ["slow.org", "next.org"]


async def test_one_that_fails_refuses_or_is_not_there_is_passed_over(
    namespace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without delay; what the last says of a name holds, also that it is not there."""
    monkeypatch.setattr("services.networks.dns.upstream.PATIENCE_S", 2 * LIMIT_S)
    with (
        running_resolver(lambda query, _: failed(query)) as failing,
        running_resolver(lambda query, _: absent(query)) as other,
    ):
        with running_resolver(lambda *_: None) as gone:
            pass
        dns = Dns(book())
        async with running(dns):
            resolvers = [given(gone), given(failing), given(other)]
            await dns.serve(ME, namespace, resolvers=resolvers)
            with trio.fail_after(LIMIT_S):
                reply = await Client(namespace).ask("a.org")
            assert reply.header.rcode == RCODE.NXDOMAIN
            await dns.serve(ME, namespace, resolvers=resolvers[:2])
            assert (await Client(namespace).ask("b.org")).header.rcode == RCODE.SERVFAIL
        assert failing.names == ["a.org", "b.org", "b.org"]


async def test_resolvers_of_a_container_are_asked_from_its_namespace(namespace: Path) -> None:
    """Those of the host from the host's: the same address may be two servers."""

    manager = running_resolver(lambda query, _: found(query, "192.0.2.2"), port=5300)
    own = in_namespace(namespace, manager.__enter__)
    try:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            resolver = Resolver("127.0.0.1", from_host=False, port=5300)
            await dns.serve(ME, namespace, resolvers=[resolver])
            assert data(await client.ask("a.org")) == ["192.0.2.2"]
            async with await client.connect() as stream:
                query = DNSRecord.question("b.org")
                assert data(await client.exchange_by_tcp(stream, query)) == ["192.0.2.2"]
            assert own.names == ["a.org", "b.org"]
    finally:
        manager.__exit__(None, None, None)


async def test_internal_networks_are_not_led_out_through_the_host(namespace: Path) -> None:
    """Until the container is in a network that leads out."""
    with running_resolver(lambda query, _: found(query, "192.0.2.1")) as resolver:
        dns = Dns(book(leads_out=False))
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(resolver)])
            assert data(await client.ask("web")) == ["10.9.0.3"]
            assert (await client.ask("a.org")).header.rcode == RCODE.SERVFAIL
            assert resolver.asked == []
            dns.names.put("n2", entry(ME, "10.10.0.2", names=("me",)))
            assert data(await client.ask("a.org")) == ["192.0.2.1"]


async def test_short_names_are_kept_where_the_search_list_is_to_be_tried(namespace: Path) -> None:
    """With `ndots` set: no data, so that the client goes on to the longer name."""
    with running_resolver(lambda query, _: found(query, "192.0.2.1")) as resolver:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(resolver)], keeps_short_names=True)
            reply = await client.ask("short")
            assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])
            assert data(await client.ask("short.example")) == ["192.0.2.1"]
            assert data(await client.ask("web")) == ["10.9.0.3"]
        assert resolver.names == ["short.example"]


async def test_a_cut_off_answer_says_so_and_is_whole_by_tcp(namespace: Path) -> None:
    """The client's way to the rest is the resolver's."""

    def answer(query: DNSRecord, is_tcp: bool) -> DNSRecord:
        reply = found(query, *(f"192.0.2.{n}" for n in range(100 if is_tcp else 10)))
        reply.header.tc = int(not is_tcp)
        return reply

    with running_resolver(answer) as resolver:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(resolver)])
            query = DNSRecord.question("a.org")
            assert (await client.exchange(query)).header.tc == 1
            async with await client.connect() as stream:
                assert len(data(await client.exchange_by_tcp(stream, query))) == 100


async def test_a_question_that_is_repeated_is_asked_once(namespace: Path) -> None:
    """Clients send again what is not answered soon; the bound on what is asked is per container."""
    with running_resolver(lambda *_: None) as silent:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(silent)])
            query = DNSRecord.question("a.org").pack()
            with client.socket() as opened:
                await opened.connect(("127.0.0.11", 53))
                for _ in range(5):
                    await opened.send(query)
                assert data(await client.ask("web")) == ["10.9.0.3"]
                with trio.fail_after(LIMIT_S):
                    while not silent.names:
                        await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked(0.02)
        assert silent.names == ["a.org"]


async def test_who_asks_too_much_is_refused_and_costs_the_others_nothing(
    namespace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its further questions only; names of containers it gets all the same."""
    monkeypatch.setattr("services.networks.dns.serving.MOST_ASKED", 8)
    with running_resolver(lambda *_: None) as silent:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns):
            await dns.serve(ME, namespace, resolvers=[given(silent)])
            opened = [await client.send(DNSRecord.question(f"n{n}.org")) for n in range(8)]
            assert (await client.ask("more.org")).header.rcode == RCODE.REFUSED
            assert data(await client.ask("web")) == ["10.9.0.3"]
            for one in opened:
                one.close()


async def test_connections_beyond_the_bound_wait_until_others_end(namespace: Path) -> None:
    """They are not refused: a place is free as soon as one of them is closed."""
    dns = Dns(book())
    client = Client(namespace)
    query = DNSRecord.question("web")
    async with running(dns):
        await dns.serve(ME, namespace, resolvers=())
        streams = [await client.connect() for _ in range(MOST_CONNECTIONS)]
        for stream in streams:
            await client.exchange_by_tcp(stream, query)
        async with await client.connect() as waiting, trio.open_nursery() as nursery:
            nursery.start_soon(client.exchange_by_tcp, waiting, query)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert nursery.child_tasks
            await streams.pop().aclose()
        for stream in streams:
            await stream.aclose()


async def test_killed_it_loses_the_questions_under_way_and_nothing_else(namespace: Path) -> None:
    """Whoever asks while it is away is answered by the next one, at the same place."""
    with running_resolver(lambda query, _: found(query, "192.0.2.1")) as resolver:
        dns = Dns(book())
        client = Client(namespace)
        async with running(dns) as kill:
            await dns.serve(ME, namespace, resolvers=[given(resolver)])
            for number in range(5):
                kill()
                assert data(await client.ask("web")) == ["10.9.0.3"]
                kill()
                assert data(await client.ask(f"a{number}.org")) == ["192.0.2.1"]


async def test_an_engine_that_died_is_followed_by_one_that_listens_at_the_same_ports(
    namespace: Path,
) -> None:
    """So a client that goes on asking from its socket is answered again, whatever the kernel
    remembers of its flow.
    """
    client = Client(namespace)
    with client.socket() as opened:
        await opened.connect(("127.0.0.11", 53))
        query = DNSRecord.question("web").pack()
        for _ in range(2):
            dns = Dns(book())
            async with running(dns):
                await dns.serve(ME, namespace, resolvers=())
                with trio.fail_after(LIMIT_S):
                    await opened.send(query)
                    assert data(DNSRecord.parse(await opened.recv(512))) == ["10.9.0.3"]
    rules = subprocess.run(
        ["nsenter", f"--net={namespace}", "nft", "list", "ruleset"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert rules.count("dnat") == 2


async def test_stopped_it_lets_go_of_the_namespace(namespace: Path) -> None:
    """Or the kernel would keep the namespace, and its links, after it was dropped."""
    dns = Dns(book())
    inode = namespace.stat().st_ino
    async with running(dns) as kill:
        await dns.serve(ME, namespace, resolvers=())
        await Client(namespace).ask("web")
        assert sockets_in(inode)
        dns.stop(ME)
        dns.stop(ME)
        await wait_settled()
        assert not sockets_in(inode)
        await dns.serve(ME, namespace, resolvers=())
        kill()
        dns.stop(ME)  # before anybody serves it
        await wait_settled()
        assert not sockets_in(inode)
        assert dns.served == frozenset()


def sockets_in(inode: int) -> bool:
    """Whether this process has sockets of a namespace."""
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptor = fcntl.ioctl(int(number), SIOCGSKNS)
        except OSError:
            continue
        try:
            if os.fstat(descriptor).st_ino == inode:
                return True
        finally:
            os.close(descriptor)
    return False


async def test_a_namespace_that_is_not_there_is_an_error(namespace: Path) -> None:
    """The start of the container fails, and says why."""
    dns = Dns(book())
    drop_namespace(namespace)
    with pytest.raises(EngineError, match="No such file"):
        await dns.serve(ME, namespace, resolvers=())
    namespace.touch()
    with pytest.raises(EngineError, match="cannot listen"):
        await dns.serve(ME, namespace, resolvers=())
    assert dns.served == frozenset()


async def test_nonsense_harms_nobody(namespace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no question, and a mistake of ours that one meets."""
    dns = Dns(book())
    client = Client(namespace)
    async with running(dns):
        await dns.serve(ME, namespace, resolvers=())
        with client.socket() as opened:
            await opened.connect(("127.0.0.11", 53))
            for nonsense in (b"", b"x", b"\xff" * 600):
                await opened.send(nonsense)
        async with await client.connect() as stream:
            await stream.send_all(b"\0\3abc")
            assert await stream.receive_some(10) == b""
        assert data(await client.ask("web")) == ["10.9.0.3"]

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a mistake")

        with monkeypatch.context() as patched:
            patched.setattr("services.networks.dns.serving.answer", broken)
            assert (await client.ask("web")).header.rcode == RCODE.SERVFAIL
        assert data(await client.ask("web")) == ["10.9.0.3"]


def test_the_types_that_are_used_are_those_of_the_standard() -> None:
    """As dnslib knows them."""
    for name in ("A", "AAAA", "PTR", "MX", "SOA", "OPT"):
        assert getattr(wire, name) == getattr(QTYPE, name)
