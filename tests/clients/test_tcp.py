"""The API and the metrics over TCP, as remote clients and Prometheus see them."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.daemon import Daemon, running_daemon, wait_until
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def remotely(daemon: Daemon, port: int, *options: str, code: int = 0) -> str:
    """`docker version` over TCP; the server's API version, or what went wrong."""
    host = f"tcp://127.0.0.1:{port}"
    ran = daemon.docker("-H", host, *options, "version", "-f", "{{.Server.APIVersion}}", code=code)
    return ran.text or ran.error_text


def test_only_clients_with_a_certificate_of_the_authority_get_in(tmp_path: Path) -> None:
    """--tlsverify with the docker CLI: a right certificate, a stranger's, none, plain text."""
    make_certificates(tmp_path)
    port = free_port()

    def client(name: str) -> tuple[str, ...]:
        files = (
            "--tlscert",
            f"{tmp_path}/{name}-cert.pem",
            "--tlskey",
            f"{tmp_path}/{name}-key.pem",
        )
        return ("--tlsverify", "--tlscacert", f"{tmp_path}/ca.pem", *files)

    server = ("-H", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", f"{tmp_path}/ca.pem")
    keys = ("--tlscert", f"{tmp_path}/server-cert.pem", "--tlskey", f"{tmp_path}/server-key.pem")
    with running_daemon(*server, *keys) as daemon:
        assert remotely(daemon, port, *client("client")).startswith("1.")
        remotely(daemon, port, *client("stranger"), code=1)
        without = ("--tls", "--tlscacert", f"{tmp_path}/ca.pem")
        remotely(daemon, port, *without, code=1)
        remotely(daemon, port, code=1)
        secure = ("-H", f"tcp://127.0.0.1:{port}", *client("client"))
        ran = daemon.docker(*secure, "run", "--rm", "-i", "busybox", "cat", stdin=b"in and out")
        assert ran.out == b"in and out"


def test_plain_tcp_works_and_is_warned_of() -> None:
    """Whoever reaches the port owns the machine: the log says so, as dockerd's does."""
    port = free_port()
    with running_daemon("-H", f"tcp://127.0.0.1:{port}", image=False) as daemon:
        assert remotely(daemon, port).startswith("1.")
        assert "WARNING" in daemon.log_text()
        assert "tls" in daemon.log_text().lower()


def test_prometheus_scrapes_true_figures() -> None:
    """The states of containers are counted as they are."""
    port = free_port()
    with running_daemon("--metrics-addr", f"127.0.0.1:{port}") as daemon:

        def figures() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
                return text

        assert 'engine_daemon_container_states_containers{state="running"} 0.0' in figures()
        daemon.docker("run", "-d", "--network", "none", "busybox", "sleep", "1000")
        running = 'engine_daemon_container_states_containers{state="running"} 1.0'
        wait_until(lambda: running in figures(), "the container is counted")
        assert "engine_daemon_engine_info{" in figures()
        daemon.docker("--host", daemon.host, "ps")
