"""A reload of a whole daemon: what it changes, what it leaves alone, and what undoes it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from services.containers.logs.usage import measure
from services.system.tls import client_context
from supervisor.reloading.table import METRICS
from tests.support.certificates import make_certificates
from tests.support.daemon import ROOT, Daemon, running_daemon, wait_until
from tests.support.http import Answer, request
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine]


@pytest.fixture(scope="module")
def started() -> Iterator[Daemon]:
    """One daemon for all; its addresses are in its file, where a reload finds them."""
    with running_daemon(hosts_in_file=True) as daemon:
        yield daemon


@pytest.fixture
def daemon(started: Daemon) -> Iterator[Daemon]:
    """It, with the file of its start in force before and after."""
    yield started
    assert reload(started).status == 200
    assert started.http("GET", "/info").json()["Warnings"] in (None, [])


OWN = {"X-Wharfinger": "test"}


def reload(daemon: Daemon, *, dry_run: bool = False, **settings: Any) -> Answer:
    """Write daemon.json and have it read."""
    content = {"hosts": [daemon.host]} | {
        name.replace("_", "-"): value for name, value in settings.items()
    }
    (daemon.folder / "daemon.json").write_text(json.dumps(content))
    path = "/wharfinger/v1/reload" + ("?dry-run=1" if dry_run else "")
    return daemon.http("POST", path, headers=OWN)


@contextmanager
def busy_port() -> Iterator[int]:
    """A port of loopback on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def is_pinged(connection: HTTPConnection) -> bool:
    """One request on a connection that stays open."""
    connection.request("GET", "/_ping")
    return connection.getresponse().read() == b"OK"


def scrape(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return b"engine_daemon_engine_info" in answer.read()


def inspect(daemon: Daemon, **host_config: Any) -> Any:
    """A new container, as it is told of; it is removed again."""
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host_config}
    made = daemon.http("POST", "/containers/create", body).json()["Id"]
    told = daemon.http("GET", f"/containers/{made}/json").json()
    daemon.http("DELETE", f"/containers/{made}")
    return told


def test_an_address_comes_and_goes_beside_the_others(daemon: Daemon) -> None:
    """A connection of another listener is open all the time; that of a removed one ends."""
    port = free_port()
    staying = daemon.client()
    events = staying.events(decode=True)
    hosts = [daemon.host, f"tcp://127.0.0.1:{port}"]
    plan = reload(daemon, hosts=hosts).json()
    assert plan["Restarted"] == [{"Part": "root/faces/api", "Settings": ["hosts"]}]
    remote = HTTPConnection("127.0.0.1", port, timeout=60)
    assert is_pinged(remote)
    assert reload(daemon).status == 200
    assert remote.sock is not None
    assert remote.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", port, timeout=60).connect()
    assert [next(events)["Action"], next(events)["Action"]] == ["reload", "reload"]
    events.close()


def test_the_address_that_asks_may_be_the_one_that_goes(daemon: Daemon) -> None:
    """Its client has its answer before its connection ends."""
    port = free_port()
    assert reload(daemon, hosts=[daemon.host, f"tcp://127.0.0.1:{port}"]).status == 200
    remote = HTTPConnection("127.0.0.1", port, timeout=60)
    (daemon.folder / "daemon.json").write_text(json.dumps({"hosts": [daemon.host]}))
    remote.request("POST", "/wharfinger/v1/reload", headers=OWN)
    answer = remote.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["Restarted"][0]["Part"] == "root/faces/api"


def test_the_same_port_changes_hands(daemon: Daemon) -> None:
    """127.0.0.1 makes room for 0.0.0.0; when that cannot be, it is back."""
    port = free_port()
    old, new = f"tcp://127.0.0.1:{port}", f"tcp://0.0.0.0:{port}"
    assert reload(daemon, hosts=[daemon.host, old]).status == 200
    assert reload(daemon, hosts=[daemon.host, new]).status == 200
    assert is_pinged(HTTPConnection("127.0.0.1", port, timeout=60))
    assert reload(daemon, hosts=[daemon.host, old]).status == 200
    with busy_port() as busy:
        refused = reload(daemon, hosts=[daemon.host, new, f"tcp://127.0.0.1:{busy}"])
    assert refused.status == 500
    assert "address already in use" in refused.message
    assert is_pinged(HTTPConnection("127.0.0.1", port, timeout=60))


def test_metrics_come_move_and_go(daemon: Daemon) -> None:
    """Alone; the counts go on."""
    first, second = free_port(), free_port()
    plan = reload(daemon, metrics_addr=f"127.0.0.1:{first}").json()
    assert plan["Restarted"] == [{"Part": METRICS, "Settings": ["metrics-addr"]}]
    assert scrape(first)
    assert reload(daemon, metrics_addr=f"127.0.0.1:{second}").status == 200
    assert scrape(second)
    with pytest.raises(OSError, match="refused"):
        scrape(first)
    assert reload(daemon).status == 200
    with pytest.raises(OSError, match="refused"):
        scrape(second)


def test_a_part_that_does_not_come_up_leaves_everything_as_it_was(daemon: Daemon) -> None:
    """The error is in the answer, the log, the event and /info; the old part serves again."""
    port = free_port()
    assert reload(daemon, metrics_addr=f"127.0.0.1:{port}", labels=["a=b"]).status == 200
    events = daemon.client().events(decode=True)
    with busy_port() as busy:
        refused = reload(daemon, metrics_addr=f"127.0.0.1:{busy}", labels=["c=d"], debug=True)
    assert refused.status == 500
    assert "ddress already in use" in refused.message
    assert scrape(port)
    told = daemon.http("GET", "/info").json()
    assert (told["Labels"], told["Debug"]) == (["a=b"], False)
    assert "does not work" in told["Warnings"][0]
    assert "ddress already in use" in next(events)["Actor"]["Attributes"]["error"]
    events.close()
    assert "configuration not reloaded, the old one stays" in daemon.log_text()


def test_a_file_that_cannot_be_used_changes_nothing(daemon: Daemon) -> None:
    """400 with the reason: of the file, or of one that it names."""
    refused = reload(daemon, labels=["a=b"], zork=1)
    assert refused.status == 400
    assert "zork" in refused.message
    profile = daemon.folder / "profile.json"
    profile.write_text("{")
    refused = reload(daemon, labels=["a=b"], seccomp_profile=str(profile))
    assert refused.status == 400
    assert "seccomp profile" in refused.message
    assert daemon.http("GET", "/info").json()["Labels"] in (None, [])


def test_a_dry_run_says_what_would_happen(daemon: Daemon) -> None:
    """By what it takes; and nothing does."""
    plan = reload(
        daemon,
        dry_run=True,
        labels=["a=b"],
        metrics_addr="127.0.0.1:1",
        cgroup_parent="/elsewhere",
    ).json()
    assert plan == {
        "DryRun": True,
        "Applied": ["labels"],
        "Restarted": [{"Part": METRICS, "Settings": ["metrics-addr"]}],
        "Reread": [],
        "NeedDaemonRestart": ["cgroup-parent"],
    }
    assert daemon.http("GET", "/info").json()["Labels"] in (None, [])


def test_what_containers_get_changes_for_the_next_one(daemon: Daemon) -> None:
    """No restart of anything: the defaults of logs, limits, name servers, runtimes."""
    runtime = daemon.folder / "runtime"
    runtime.write_text('#!/bin/sh\nexec runc "$@"\n')
    runtime.chmod(0o755)
    plan = reload(
        daemon,
        log_opts={"max-size": "7m"},
        default_shm_size="7m",
        default_ulimits={"nofile": {"Name": "nofile", "Soft": 77, "Hard": 88}},
        dns=["192.0.2.7"],
        default_runtime="other",
        runtimes={"other": {"path": str(runtime)}},
    ).json()
    assert (plan["Restarted"], plan["NeedDaemonRestart"]) == ([], [])
    host = inspect(daemon)["HostConfig"]
    assert host["LogConfig"]["Config"] == {"max-size": "7m"}
    assert (host["ShmSize"], host["Runtime"]) == (7 << 20, "other")
    shown = daemon.docker(
        *("run", "--rm", "busybox", "sh", "-c", "ulimit -n; cat /etc/resolv.conf")
    ).text
    assert shown.startswith("77\n")
    assert "192.0.2.7" in shown
    assert reload(daemon).status == 200
    assert inspect(daemon)["HostConfig"]["Runtime"] == "runc"


def test_a_budget_for_all_logs_is_kept_to_at_once(daemon: Daemon) -> None:
    """A container that runs keeps its latest lines, and its readers go on; /info says so."""
    script = "seq 1 40000; while ! [ -e /go ]; do sleep 0.05; done; seq 40001 60000"
    options = ("--network", "none", "--log-opt", "max-size=-1")
    daemon.docker("run", "-d", "--name", "noisy", *options, "busybox", "sh", "-c", script)
    path = Path(daemon.docker("inspect", "noisy", "-f", "{{.LogPath}}").text)

    def size() -> int:
        return measure(path).total

    last = ("logs", "--tail", "1", "noisy")
    wait_until(lambda: daemon.docker(*last).text == "40000", what="all is logged")
    assert size() > 2 << 20
    with daemon.docker_process("logs", "-f", "--tail", "1", "noisy") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"40000\n"
        assert reload(daemon, log_budget="1m").json()["Applied"] == ["log-budget"]
        wait_until(lambda: size() <= 1 << 20, what="shortened")
        assert "older lines were removed" in daemon.http("GET", "/info").json()["Warnings"][0]
        metrics = daemon.http("GET", "/wharfinger/v1/metrics").body.decode()
        assert "wharfinger_log_budget_bytes 1.048576e+06" in metrics
        daemon.docker("exec", "noisy", "touch", "/go")
        rest = follower.communicate(timeout=90)[0].split()
    assert rest == [b"%d" % n for n in range(40001, 60001)]
    wait_until(lambda: size() <= 1 << 20, what="shortened again")
    kept = [int(line) for line in daemon.docker("logs", "noisy").text.split()]
    assert kept == list(range(60001 - len(kept), 60001))
    daemon.docker("rm", "-f", "noisy")


def test_certificates_are_renewed_under_open_connections(daemon: Daemon, tmp_path: Path) -> None:
    """Who is connected stays; who comes sees the new one. Broken ones change nothing."""
    old, new, used = tmp_path / "old", tmp_path / "new", tmp_path / "used"
    for folder in (old, new, used):
        folder.mkdir()
    make_certificates(old)
    make_certificates(new)

    def use(folder: Path) -> None:
        for name in ("server-cert", "server-key"):
            (used / f"{name}.pem").write_bytes((folder / f"{name}.pem").read_bytes())

    port = free_port()
    settings: dict[str, Any] = {
        "hosts": [daemon.host, f"tcp://127.0.0.1:{port}"],
        "tls": True,
        "tlsverify": False,
        "tlscert": str(used / "server-cert.pem"),
        "tlskey": str(used / "server-key.pem"),
    }

    def dial(authority: Path) -> ssl.SSLSocket:
        context = client_context(str(authority / "ca.pem"))
        plain = socket.create_connection(("127.0.0.1", port), 60)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def ping(connection: ssl.SSLSocket) -> bool:
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        return b"200 OK" in connection.recv(4096)

    use(old)
    assert reload(daemon, **settings).status == 200
    with dial(old) as before:
        assert ping(before)
        use(new)
        plan = reload(daemon, **settings).json()
        assert plan["Reread"] == [settings["tlscert"], settings["tlskey"]]
        assert plan["Restarted"] == []
        with dial(new) as after:
            assert ping(after)
            assert ping(before)
        (used / "server-key.pem").write_text("broken")
        assert reload(daemon, **settings).status == 400
        with dial(new) as after:
            assert ping(after)


def test_scoped_sockets_come_change_and_go(daemon: Daemon) -> None:
    """A policy that changes is kept to at once, and by streams that were open in seconds."""
    path = daemon.folder / "scoped.sock"

    def wanted(**policy: Any) -> list[dict[str, Any]]:
        return [{"path": str(path), "policy": policy}]

    def status(target: str) -> int:
        return request(path, "GET", target).status

    plan = reload(daemon, scoped_sockets=wanted(operations=["SystemEvents", "SystemInfo"])).json()
    assert plan["Restarted"] == [{"Part": "root/faces/api", "Settings": ["scoped-sockets"]}]
    assert (status("/info"), status("/containers/json")) == (200, 403)
    inode = path.stat().st_ino
    with socket.socket(socket.AF_UNIX) as events:
        events.connect(str(path))
        events.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        assert events.recv(4096).startswith(b"HTTP/1.1 200")
        second = {"path": f"{path}2", "policy": {"read-only": True}}
        changed = [*wanted(operations=["ContainerList"]), second]
        assert reload(daemon, scoped_sockets=changed).status == 200
        assert (status("/info"), status("/containers/json")) == (403, 200)
        assert request(Path(f"{path}2"), "GET", "/info").status == 200
        events.settimeout(60)
        while events.recv(4096):
            pass
    assert path.stat().st_ino == inode  # the socket is the same: nobody was refused meanwhile

    refused = [{"path": str(daemon.folder / "none" / "x"), "policy": {"read-only": True}}]
    assert reload(daemon, scoped_sockets=wanted(read_only=True) + refused).status == 400
    more = wanted(**{"read-only": True})
    assert reload(daemon, scoped_sockets=more + refused).status == 500
    assert (status("/info"), status("/containers/json")) == (403, 200)
    changed[0]["group"] = "12345"
    assert reload(daemon, scoped_sockets=changed).status == 200
    assert path.stat().st_gid == 12345
    assert reload(daemon).status == 200
    assert not path.exists()


def test_audit_log_begins_moves_and_ends(daemon: Daemon) -> None:
    """From the next request on; a file that cannot be written leaves the old one."""
    first, second = daemon.folder / "audit", daemon.folder / "logs" / "audit"

    def targets(path: Path) -> list[str]:
        return [json.loads(line)["path"] for line in path.read_text().splitlines()]

    assert reload(daemon, audit_log=str(first)).status == 200
    daemon.http("POST", "/containers/none/start")
    assert targets(first) == ["/containers/none/start"]
    assert reload(daemon, audit_log=str(daemon.folder)).status == 500
    daemon.http("POST", "/containers/none/stop")
    assert reload(daemon, audit_log=str(second)).json()["Applied"] == ["audit-log"]
    daemon.http("POST", "/containers/none/kill")
    reloads = ["/wharfinger/v1/reload"] * 2
    assert targets(first) == [
        "/containers/none/start", reloads[0], "/containers/none/stop", reloads[1],
    ]  # fmt: skip
    assert targets(second) == ["/containers/none/kill"]
    assert second.stat().st_mode & 0o777 == 0o600
    assert reload(daemon).status == 200
    daemon.http("POST", "/containers/none/wait")
    assert targets(second) == ["/containers/none/kill", "/wharfinger/v1/reload"]


def test_the_command(daemon: Daemon) -> None:
    """`python -m supervisor reload` says what was done; 1 when nothing was."""

    def run(*argv: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", "reload", *argv],
            cwd=ROOT,
            env=daemon.environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    content = {"hosts": [daemon.host], "labels": ["a=b"]}
    (daemon.folder / "daemon.json").write_text(json.dumps(content))
    assert run("--dry-run") == (0, "would be applied: labels\n")
    assert run() == (0, "applied: labels\n")
    (daemon.folder / "daemon.json").write_text("{")
    code, said = run("-H", daemon.host)
    assert code == 1
    assert "invalid JSON" in said


def test_the_socket_changes_hands(daemon: Daemon) -> None:
    """To the group that the file names, as a number here."""
    assert reload(daemon, group="12345").status == 200
    assert daemon.socket.stat().st_gid == 12345
    assert reload(daemon, group="nosuchgroup").status == 500
    assert daemon.socket.stat().st_gid == 12345


def test_buildkit_is_switched_off_and_on(daemon: Daemon) -> None:
    """The ping leads clients to the builder that is there; the protocol is refused without it."""
    assert reload(daemon, features={"buildkit": False}).status == 200
    assert daemon.http("GET", "/_ping").headers["builder-version"] == "1"
    for target in ("/session", "/grpc", "/build?version=2"):
        answer = daemon.http("POST", target)
        assert (answer.status, answer.message) == (
            501,
            "BuildKit is switched off (features.buildkit)",
        )
    assert reload(daemon, features={"buildkit": True}).status == 200
    assert daemon.http("GET", "/_ping").headers["builder-version"] == "2"
    assert daemon.http("POST", "/grpc").status == 400


def test_api_says_whether_it_is_experimental(daemon: Daemon) -> None:
    """In each answer's head, the ready ones and the others."""
    assert reload(daemon, experimental=True).status == 200
    for path in ("/_ping", "/info"):
        assert daemon.http("GET", path).headers["docker-experimental"] == "true"
    assert reload(daemon).status == 200
    for path in ("/_ping", "/info"):
        assert daemon.http("GET", path).headers["docker-experimental"] == "false"


def test_the_log_changes_its_form(daemon: Daemon) -> None:
    """From the next line on."""
    mark = len(daemon.log_text())
    assert reload(daemon, log_format="json").status == 200
    wait_until(lambda: '"msg": "configuration reloaded"' in daemon.log_text(since=mark), "JSON")
