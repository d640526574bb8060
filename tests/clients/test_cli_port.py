"""Published ports with the docker CLI: reached from everywhere, refused when taken, never left."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running_daemon, wait_until
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.clients]

LIMIT_S = 60
LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
SLEEP = ("busybox", "sleep", "1000")
SERVES = "mkdir /w; echo {text} >/w/index.html; exec httpd -f -p 80 -h /w"
CONNECTS = """
import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
"""
ANSWERS = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    _, client = server.recvfrom(100)
    server.sendto(sys.argv[1].encode(), client)
"""


def serve(daemon: Daemon, name: str, *options: str, text: str = "hello") -> None:
    daemon.docker(
        "run", "-d", "--name", name, *options, "busybox", "sh", "-c", SERVES.format(text=text)
    )


def is_free(number: int, kind: int = socket.SOCK_STREAM) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", number))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError:
            return False
        return True


def fetched(address: str, number: int) -> str:
    """The page's text; "" while nobody answers."""
    try:
        with socket.create_connection((address, number), timeout=3) as connection:
            connection.settimeout(3)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError:
        return ""
    return answer.decode().partition("\r\n\r\n")[2].strip()


def open_connection(number: int) -> socket.socket:
    """A connection to a server that is about to start."""
    made: list[socket.socket] = []

    def has_connected() -> bool:
        with suppress(OSError):
            made.append(socket.create_connection(("127.0.0.1", number), timeout=3))
        return bool(made)

    wait_until(has_connected, f"{number} answers", limit_s=LIMIT_S)
    return made[0]


def wait_fetched(address: str, number: int, text: str = "hello") -> None:
    wait_until(
        lambda: fetched(address, number) == text, f"{address}:{number} answers", limit_s=LIMIT_S
    )


def fetched_inside(
    daemon: Daemon, name: str, address: str, number: int, *, limit_s: int = 30
) -> str:
    command = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout {limit_s} nc {address} {number}"
    ran = daemon.docker("exec", name, "sh", "-c", command, code=None)
    return ran.text.rpartition("\n")[2]


def host_address(daemon: Daemon) -> str:
    """One of the host's own addresses besides loopback; the bridge's where there is no other."""
    done = subprocess.run(
        ["ip", "-j", "-4", "addr", "show", "scope", "global"], capture_output=True, check=True
    )
    others = ("wf", "wg", "br-", "docker")  # other daemons', which may go at any time
    links = [link for link in json.loads(done.stdout) if not link["ifname"].startswith(others)]
    own = [str(link["addr_info"][0]["local"]) for link in links]
    return own[0] if own else daemon.bridge.address


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.http("GET", f"/containers/{name}/json").json()
    return answer


def ports_of(daemon: Daemon, name: str) -> dict[str, Any]:
    ports: dict[str, Any] = inspect(daemon, name)["NetworkSettings"]["Ports"]
    return ports


def on_all(number: int) -> list[dict[str, str]]:
    """A port of all addresses, as an inspect shows it."""
    return [{"HostIp": address, "HostPort": str(number)} for address in ("0.0.0.0", "::")]


@contextmanager
def inside(pid: int, program: str, *arguments: str) -> Iterator[None]:
    """A Python program in the network of a container; busybox has no UDP server."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


def answered(client: socket.socket, text: str) -> bool:
    try:
        client.send(b"x")
        return client.recv(100).decode() == text
    except OSError:
        return False


def refusal(daemon: Daemon, *options: str) -> str:
    ran = daemon.docker("run", *options, "busybox", "true", code=125)
    return ran.error_text


def test_nothing_is_published(daemon: Daemon) -> None:
    """An empty list; the CLI's words for a port that is asked for."""
    daemon.docker("run", "-d", "--name", "box", "--expose", "80", *SLEEP)
    assert daemon.docker("port", "box").text == ""
    text = daemon.docker("port", "box", "80", code=1).error_text
    assert text == "Error: No public port '80' published for box"
    text = daemon.docker("port", "nosuch", code=1).error_text
    assert text.endswith("No such container: nosuch")


def test_a_port_is_reached_from_everywhere(daemon: Daemon) -> None:
    """127.0.0.1, the host's addresses, another container, and the container itself."""
    number = free_port()
    serve(daemon, "web", "-p", f"{number}:80")
    daemon.docker("run", "-d", "--name", "near", *SLEEP)
    for address in ("127.0.0.1", "127.0.0.2", "::1", host_address(daemon), daemon.bridge.address):
        wait_fetched(address, number)
    for name in ("near", "web"):
        for address in (daemon.bridge.address, host_address(daemon)):
            assert fetched_inside(daemon, name, address, number) == "hello", (name, address)
    text = daemon.docker("port", "web").text
    assert text == f"80/tcp -> 0.0.0.0:{number}\n80/tcp -> [::]:{number}"
    assert daemon.docker("port", "web", "80").text == f"0.0.0.0:{number}\n[::]:{number}"
    shown = daemon.docker("ps", "--filter", "name=web", "--format", "{{.Ports}}").text
    assert shown == f"0.0.0.0:{number}->80/tcp, [::]:{number}->80/tcp"
    daemon.docker("rm", "-f", "web")
    assert daemon.bridge.published() == []
    assert is_free(number)


def test_a_port_on_loopback_alone(daemon: Daemon) -> None:
    """Not on the host's other addresses, and not for containers, which have it in their way out."""
    number = free_port()
    serve(daemon, "web", "-p", f"127.0.0.1:{number}:80")
    daemon.docker("run", "-d", "--name", "near", *SLEEP)
    wait_fetched("127.0.0.1", number)
    assert fetched(host_address(daemon), number) == ""
    assert fetched_inside(daemon, "near", daemon.bridge.address, number, limit_s=5) == ""


def test_the_hosts_loopback_is_closed_to_containers(daemon: Daemon) -> None:
    """Even to one that sends to 127.0.0.1 on its link, which nobody does by accident."""
    daemon.docker("run", "-d", "--name", "near", *SLEEP)
    pid = inspect(daemon, "near")["State"]["Pid"]
    script = (
        "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip link set lo down; "
        f"ip address flush dev lo; ip route add 127.0.0.1 via {daemon.bridge.address}; "
        "ip route get 127.0.0.1"
    )
    way = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "dev eth0" in way
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2)
        number = server.getsockname()[1]
        with inside(pid, CONNECTS, str(number)), pytest.raises(TimeoutError):
            server.accept()


def test_ranges_and_free_choices(daemon: Daemon) -> None:
    """-p with a range on one or both sides, -P, --expose; what is only exposed is null."""
    first = free_port()
    while not is_free(first + 1):
        first = free_port()
    both = f"{first}-{first + 1}"
    serve(daemon, "web", "-p", f"{both}:80-81", "--expose", "443", "--expose", "90-91/udp")
    assert ports_of(daemon, "web") == {
        "80/tcp": on_all(first),
        "81/tcp": on_all(first + 1),
        "443/tcp": None,
        "90/udp": None,
        "91/udp": None,
    }
    daemon.docker("rm", "-f", "web")
    serve(daemon, "one", "-p", f"{both}:80", text="one")
    serve(daemon, "two", "-p", f"{both}:80", text="two")
    wait_fetched("127.0.0.1", first, "one")
    wait_fetched("127.0.0.1", first + 1, "two")
    text = refusal(daemon, "--rm", "-p", f"{both}:80")
    assert "all ports are allocated" in text
    serve(daemon, "any", "-P", "--expose", "80", "--expose", "53/udp", text="any")
    found = ports_of(daemon, "any")
    assert set(found) == {"80/tcp", "53/udp"}
    lowest, highest = map(int, LOCAL_PORTS.read_text().split())
    chosen = int(found["80/tcp"][0]["HostPort"])
    assert lowest <= chosen <= highest
    wait_fetched("127.0.0.1", chosen, "any")
    ports = f"publish={both}"  # the host's end, as under dockerd
    listed = daemon.docker("ps", "--filter", ports, "--format", "{{.Names}}").text
    assert listed.split() == ["two", "one"]
    listed = daemon.docker("ps", "--filter", "expose=50-60/udp", "--format", "{{.Names}}").text
    assert listed == "any"


def test_a_taken_port_is_refused(daemon: Daemon) -> None:
    """By another container or another program; the container is not started, nothing is held."""
    number, other = free_port(), free_port()
    serve(daemon, "web", "-p", f"{number}:80")
    text = refusal(daemon, "--name", "late", "-p", f"{other}:80", "-p", f"{number}:80")
    assert "driver failed programming external connectivity on endpoint late (" in text
    assert f"Bind for 0.0.0.0:{number} failed: port is already allocated" in text
    assert inspect(daemon, "late")["State"]["Status"] == "created"
    assert ports_of(daemon, "late") == {}
    assert is_free(other)
    with socket.create_server(("0.0.0.0", other)):
        text = refusal(daemon, "--rm", "-p", f"{other}:80")
        assert f"listen tcp4 0.0.0.0:{other}: bind: address already in use" in text
    daemon.docker("rm", "-f", "web")
    wait_until(lambda: daemon.docker("start", "late", code=None).code == 0, "it starts at last")
    assert is_free(number) or daemon.docker("wait", "late").text == "0"


def test_ports_follow_a_restart(daemon: Daemon) -> None:
    """A chosen one is the same, whatever address the container has; stopped it has none."""
    number = free_port()
    serve(daemon, "web", "-p", f"{number}:80")
    wait_fetched("127.0.0.1", number)
    daemon.docker("restart", "-t", "0", "web")
    wait_fetched("127.0.0.1", number)
    daemon.docker("stop", "-t", "0", "web")
    assert ports_of(daemon, "web") == {}
    assert daemon.docker("ps", "-a", "--format", "{{.Ports}}").text == ""
    assert is_free(number)
    daemon.docker("start", "web")
    wait_fetched("127.0.0.1", number)
    assert len(daemon.bridge.published()) == 1


def test_ipv6_addresses_of_the_host(daemon: Daemon) -> None:
    """They lead to containers without IPv6, which see the bridge's own address."""
    number = free_port()
    serve(daemon, "web", "-p", f"[::1]:{number}:80", "-p", "[::1]::81/udp")
    wait_fetched("::1", number)
    assert fetched("127.0.0.1", number) == ""
    found = ports_of(daemon, "web")
    assert found["80/tcp"] == [{"HostIp": "::1", "HostPort": str(number)}]
    assert daemon.bridge.published() == []
    pid = inspect(daemon, "web")["State"]["Pid"]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.connect(("::1", int(found["81/udp"][0]["HostPort"])))
        with inside(pid, ANSWERS.replace("53", "81"), "udp"):
            wait_until(partial(answered, client, "udp"), "it answers", limit_s=LIMIT_S)
    text = refusal(daemon, "--rm", "-p", f"[::]:{number}:80")
    assert f"Bind for :::{number} failed: port is already allocated" in text
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        taken = other.getsockname()[1]
        text = refusal(daemon, "--rm", "-p", f"{taken}:80")
    assert f"listen tcp6 [::]:{taken}: bind: address already in use" in text
    assert is_free(taken)
    daemon.docker("rm", "-f", "web")
    with socket.create_server(("::1", number), family=socket.AF_INET6):
        pass


def test_settings_of_published_ports() -> None:
    """Without the proxy a container without IPv6 has no such ports; --ip is for those unnamed."""
    with running_daemon("--userland-proxy=false", "--ip=127.0.0.1") as daemon:
        one, other, third = free_port(), free_port(), free_port()
        ports = ("-p", f"{one}:80", "-p", f"0.0.0.0:{other}:80", "-p", f"[::1]:{third}:80")
        serve(daemon, "web", *ports)
        wait_fetched("127.0.0.1", one)
        assert fetched(daemon.bridge.address, one) == ""
        wait_fetched(daemon.bridge.address, other)
        assert sorted(map(str, ports_of(daemon, "web")["80/tcp"])) == sorted(
            str({"HostIp": address, "HostPort": str(number)})
            for address, number in (("127.0.0.1", one), ("0.0.0.0", other))
        )


def test_ports_without_a_firewall() -> None:
    """The proxy carries all of them."""
    with running_daemon("--iptables=false") as daemon:
        number = free_port()
        serve(daemon, "web", "-p", f"{number}:80")
        for address in ("127.0.0.1", "::1", daemon.bridge.address):
            wait_fetched(address, number)
        assert fetched_inside(daemon, "web", daemon.bridge.address, number) == "hello"
        assert daemon.bridge.published() == []
        daemon.docker("rm", "-f", "web")
        assert is_free(number)


def test_a_udp_client_finds_the_next_container(daemon: Daemon) -> None:
    """Its flow does not stick to the one that is gone."""
    number = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.connect(("127.0.0.1", number))
        for text in ("first", "second"):
            daemon.docker("run", "-d", "--name", text, "-p", f"{number}:53/udp", *SLEEP)
            pid = inspect(daemon, text)["State"]["Pid"]
            with inside(pid, ANSWERS, text):
                wait_until(
                    partial(answered, client, text), f"the {text} one answers", limit_s=LIMIT_S
                )
                daemon.docker("rm", "-f", text)
    assert is_free(number, socket.SOCK_DGRAM)


def test_networks_without_ports(daemon: Daemon) -> None:
    """host: discarded, with a warning; none: nothing to publish; container: refused."""
    number = free_port()
    ran = daemon.docker(
        "run",
        "-d",
        "--name",
        "hosts",
        "--network",
        "host",
        "-p",
        f"{number}:80",
        "busybox",
        "sleep",
        "9",
    )
    assert "Published ports are discarded when using host network mode" in ran.error_text
    daemon.docker(
        "run",
        "-d",
        "--name",
        "none",
        "--network",
        "none",
        "-p",
        f"{number}:80",
        "busybox",
        "sleep",
        "9",
    )
    assert ports_of(daemon, "hosts") == ports_of(daemon, "none") == {}
    assert is_free(number)
    text = refusal(daemon, "--network", "container:none", "-p", "80")
    assert "port publishing and the container type network mode" in text


@contextmanager
def proxied_connection(daemon: Daemon) -> Iterator[socket.socket]:
    """One by [::1], which the userland proxy carries."""
    number = free_port()
    script = "nc -l -p 80 -e cat"
    daemon.docker("run", "-d", "--rm", "-p", f"{number}:80", "busybox", "sh", "-c", script)
    made: list[socket.socket] = []

    def answers() -> bool:
        connection = socket.create_connection(("::1", number), timeout=LIMIT_S)
        with suppress(ConnectionError):  # nobody listens yet
            connection.sendall(b"x")
            if connection.recv(1) == b"x":
                made.append(connection)
                return True
        connection.close()
        return False

    wait_until(answers, "it echoes", limit_s=LIMIT_S)
    with made[0]:
        yield made[0]


def test_a_killed_daemon_loses_no_port(fresh_daemon: Daemon) -> None:
    """Connections live on, the ports are reserved again, and what ended meanwhile is given back."""
    daemon = fresh_daemon
    lasting, ending = free_port(), free_port()
    serve(daemon, "web", "-p", f"{lasting}:80")
    echo = "nc -l -p 80 -e cat"
    daemon.docker("run", "-d", "--name", "echo", "-p", f"{ending}:80", "busybox", "sh", "-c", echo)
    wait_fetched("127.0.0.1", lasting)
    before = ports_of(daemon, "web")

    with open_connection(ending) as connection:
        connection.settimeout(LIMIT_S)
        with proxied_connection(daemon) as proxied:
            daemon.kill()
            wait_fetched("127.0.0.1", lasting)
            daemon.start()
            for each in (connection, proxied):
                each.sendall(b"still here")
                assert each.recv(100) == b"still here"
        wait_fetched("::1", lasting)
        assert ports_of(daemon, "web") == before
        assert not is_free(lasting)
        assert not is_free(ending)
        pid = inspect(daemon, "echo")["State"]["Pid"]
        daemon.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the one that echoes has ended")
    daemon.start()
    wait_until(lambda: is_free(ending), "the port is free", limit_s=LIMIT_S)
    wait_until(lambda: len(daemon.bridge.published()) == 1, "its rule is gone", limit_s=LIMIT_S)
    wait_fetched("127.0.0.1", lasting)
    text = refusal(daemon, "--rm", "-p", f"{lasting}:80")
    assert "port is already allocated" in text
    subprocess.run(["nft", "delete", "table", "inet", daemon.bridge.table], check=True)
    wait_fetched("127.0.0.1", lasting)
    daemon.docker("rm", "-f", "web")
    assert daemon.bridge.published() == []
    assert is_free(lasting)
