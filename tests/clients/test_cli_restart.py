"""`docker restart`."""

from __future__ import annotations

import pytest

from tests.clients.cli import create, refusal, start, state
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_it_is_a_new_process(daemon: Daemon) -> None:
    """Another pid, the same id and files; what does not run is started."""
    container_id = start(daemon)
    create(daemon, name="still", command=("sleep", "1000"))
    pid = state(daemon, "Pid")
    daemon.docker("exec", "box", "touch", "/kept")
    ran = daemon.docker("restart", "--timeout", "0", "box", "still")
    assert ran.text.split() == ["box", "still"]
    assert state(daemon, "Pid") != pid
    assert daemon.docker("exec", "box", "ls", "/kept").text == "/kept"
    running = daemon.docker("ps", "-q", "--no-trunc").text.split()
    assert container_id in running
    assert len(running) == 2


def test_it_keeps_its_address(daemon: Daemon) -> None:
    """Also when others came and went meanwhile: who has resolved its name reaches it."""
    daemon.docker("network", "create", "net")
    start(daemon, "--network", "net")
    find = ("inspect", "--format", "{{.NetworkSettings.Networks.net.IPAddress}}", "box")
    address = daemon.docker(*find).text
    assert address
    daemon.docker("run", "--rm", "--network", "net", "busybox", "true")
    daemon.docker("restart", "--timeout", "0", "box")
    assert daemon.docker(*find).text == address
    daemon.docker("network", "disconnect", "net", "box")
    daemon.docker("network", "connect", "net", "box")
    assert daemon.docker(*find).text == address


def test_with_a_signal(daemon: Daemon) -> None:
    """--signal is what it hears first; without -t it has its grace."""
    script = "trap 'echo heard; exit 0' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done"
    start(daemon, command=("sh", "-c", script))
    wait_until(lambda: "up" in daemon.docker("logs", "box").text, "it is up")
    daemon.docker("restart", "--signal", "USR1", "box")
    assert "heard" in daemon.docker("logs", "box").text


def test_refusals(daemon: Daemon) -> None:
    """Unknown containers and signals."""
    start(daemon)
    assert refusal(daemon, "restart", "-t", "0", "nosuch") == "No such container: nosuch"
    assert refusal(daemon, "restart", "-s", "BOGUS", "box") == "invalid signal: BOGUS"
    answer = daemon.http("POST", "/containers/box/restart?t=x")
    assert answer.message == 'strconv.Atoi: parsing "x": invalid syntax'
    assert state(daemon, "Status") == "running"
