"""`docker start`."""

from __future__ import annotations

import pytest

from tests.clients.cli import create, refusal, start, state
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_several(daemon: Daemon) -> None:
    """Each name is printed; what runs already is no error; one failure stops none."""
    start(daemon)
    create(daemon, name="other", command=("sleep", "1000"))
    ran = daemon.docker("start", "box", "nosuch", "other", code=1)
    assert ran.text.split() == ["box", "other"]
    assert ran.error_text.splitlines() == [
        "Error response from daemon: No such container: nosuch",
        "Error: failed to start containers: nosuch",
    ]
    assert state(daemon, "Status", "other") == "running"


def test_attached(daemon: Daemon) -> None:
    """--attach shows the output and ends with its status, again at the next start."""
    create(daemon, command=("sh", "-c", "echo out; echo err >&2; exit 5"))
    for _ in range(2):
        ran = daemon.docker("start", "--attach", "box", code=5)
        assert (ran.text, ran.error_text) == ("out", "err")
    said = refusal(daemon, "start", "-a", "box", "box")
    assert said.startswith("you cannot start and attach multiple containers at once")


def test_interactive(daemon: Daemon) -> None:
    """--interactive carries stdin."""
    create(daemon, "-i", command=("cat",))
    assert daemon.docker("start", "-a", "--interactive", "box", stdin=b"in\n").out == b"in\n"


def test_detach_keys(daemon: Daemon) -> None:
    """--detach-keys leave it running; bad ones are refused and it is not started."""
    create(daemon, "-it", command=("sh",))
    said = refusal(daemon, "start", "-ai", "--detach-keys", "bogus", "box")
    assert said == "unable to upgrade to tcp, received 400"  # all that the CLI makes of it
    assert state(daemon, "Status") == "created"
    command = ("start", "-ai", "--detach-keys", "ctrl-x,q", "box")
    with daemon.docker_on_terminal(*command) as terminal:
        terminal.expect("# ")
        terminal.type("\x18q")
        assert terminal.wait() == 0
    assert state(daemon, "Status") == "running"


def test_checkpoints_are_refused(daemon: Daemon) -> None:
    """--checkpoint and --checkpoint-dir are experimental in Docker and not here."""
    create(daemon)
    for flags in (("--checkpoint", "x"), ("--checkpoint-dir", "/x", "--checkpoint", "x")):
        assert "experimental" in refusal(daemon, "start", *flags, "box")
    assert state(daemon, "Status") == "created"


def test_settings_in_the_body_are_refused(daemon: Daemon) -> None:
    """They were once, and who sends them counts on them."""
    create(daemon)
    answer = daemon.http("POST", "/containers/box/start", {"Binds": ["/tmp:/m"]})
    assert (answer.status, answer.message) == (
        400,
        "starting container with non-empty request body was deprecated since API v1.22 and "
        "removed in v1.24",
    )
    assert state(daemon, "Status") == "created"
    assert daemon.http("POST", "/containers/box/start", {}).status == 204


def test_a_command_that_is_not_there(daemon: Daemon) -> None:
    """The container is as it was, with the reason and the code in its state."""
    create(daemon, command=("nosuch",))
    said = refusal(daemon, "start", "box")
    assert 'exec: "nosuch": executable file not found in $PATH' in said
    assert (state(daemon, "Status"), state(daemon, "ExitCode")) == ("created", "127")
    assert "executable file not found" in state(daemon, "Error")
