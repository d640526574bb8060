"""`docker wait`, and the conditions of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.clients.cli import create, refusal, start, state
from tests.support.daemon import Daemon, wait_until
from tests.support.http import begun

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_codes_in_order(daemon: Daemon) -> None:
    """One line each, also of what has ended or never ran; an unknown one is an error."""
    start(daemon, command=("sh", "-c", "sleep 0.3; exit 3"))
    create(daemon, name="still")
    ran = daemon.docker("wait", "box", "still", "nosuch", "box", code=1)
    assert ran.text.split() == ["3", "0", "3"]
    assert ran.error_text == "Error response from daemon: No such container: nosuch"


@contextmanager
def waiting(daemon: Daemon, condition: str) -> Iterator[Callable[[], object]]:
    """A wait that has begun, for its head has come; call for its end."""
    path = f"/containers/box/wait?condition={condition}"
    with begun(daemon.socket, "POST", path) as answer:
        yield lambda: json.loads(answer.read())


def test_next_exit_and_removal(daemon: Daemon) -> None:
    """next-exit is of the coming run; removed lasts over runs, and has the last one's code."""
    create(daemon, command=("sh", "-c", "test -e /again && exit 5; touch /again; exit 4"))
    with waiting(daemon, "removed") as removed:
        for code in (4, 5):
            with waiting(daemon, "next-exit") as exited:
                daemon.docker("start", "box")
                assert exited() == {"StatusCode": code}
            assert daemon.docker("wait", "box").text == str(code)
        daemon.docker("rm", "box")
        assert removed() == {"StatusCode": 5}


def test_a_restart_is_an_end(daemon: Daemon) -> None:
    """Who waits for the end is woken by that of the run, though another one follows."""
    start(daemon)
    with waiting(daemon, "not-running") as ended, waiting(daemon, "") as by_default:
        daemon.docker("restart", "-t", "0", "box")
        assert ended() == by_default() == {"StatusCode": 137}


def test_each_end_counts(daemon: Daemon) -> None:
    """That of a run which its policy repeats, too; when no more runs come, the last one's code."""
    script = "test -e /second && exit 0; test -e /first && touch /second; touch /first; exit 7"
    create(daemon, "--restart", "on-failure", command=("sh", "-c", script))
    with waiting(daemon, "not-running") as still, waiting(daemon, "next-exit") as exited:
        assert still() == {"StatusCode": 0}  # of one that never ran
        daemon.docker("start", "box")
        assert exited() == {"StatusCode": 7}
    wait_until(lambda: state(daemon, "Status") == "exited", "no more runs")
    assert daemon.docker("wait", "box").text == "0"


def test_conditions_by_version(daemon: Daemon) -> None:
    """A bad one is refused; up to API 1.29 the parameter meant nothing."""
    create(daemon)
    for version, status in (("1.24", 200), ("1.29", 200), ("1.30", 400), ("1.56", 400)):
        answer = daemon.http("POST", f"/v{version}/containers/box/wait?condition=bogus")
        assert answer.status == status
    assert answer.message == 'invalid condition: "bogus"'
    assert refusal(daemon, "wait", "nosuch") == "No such container: nosuch"
