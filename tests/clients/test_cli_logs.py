"""`docker logs`: its flags. What they mean while the log goes on: test_logs.py."""

from __future__ import annotations

import re

import pytest

from tests.clients.cli import create, refusal
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def test_flags(daemon: Daemon) -> None:
    """--follow, --tail, --since, --until, --timestamps, --details, and both streams apart."""
    script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three"
    options = ("-l", "k=v", "--log-opt", "labels=k")
    create(daemon, *options, command=("sh", "-c", script))
    daemon.docker("start", "-a", "box")
    ran = daemon.docker("logs", "--follow", "box")
    assert (ran.text, ran.error_text) == ("one\nthree", "two")
    assert daemon.docker("logs", "--tail", "1", "box").text == "three"
    assert daemon.docker("logs", "-n", "0", "box").out == b""
    assert daemon.docker("logs", "--tail", "all", "box").text == "one\nthree"
    stamped = daemon.docker("logs", "--timestamps", "box").text.splitlines()
    assert [re.fullmatch(rf"{STAMP} (\w+)", line)[1] for line in stamped] == ["one", "three"]  # type: ignore[index]
    second = stamped[1].split()[0]
    assert daemon.docker("logs", "--since", second, "box").text == "three"
    assert daemon.docker("logs", "--until", stamped[0].split()[0], "box").text == "one"
    assert daemon.docker("logs", "--since", "1h", "--until=-1m", "box").text == "one\nthree"
    assert daemon.docker("logs", "--since", "2999-01-01", "box").text == ""
    wait_until(lambda: daemon.docker("logs", "--details", "box").text, "details")


def test_refusals(daemon: Daemon) -> None:
    """An unknown container, a time that is none; a tail that is none means all, as in dockerd."""
    create(daemon)
    assert refusal(daemon, "logs", "nosuch") == "No such container: nosuch"
    said = refusal(daemon, "logs", "--since", "bogus", "box")
    assert said == ('invalid value for "since": failed to parse value as time or duration: "bogus"')
    assert daemon.docker("logs", "--tail", "bogus", "box").out == b""
