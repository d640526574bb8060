"""`docker exec` without a terminal."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]


@pytest.fixture
def base(daemon: Daemon) -> Daemon:
    """The daemon, with a container `base` that runs."""
    daemon.docker("run", "-d", "--name", "base", "--network", "none", "busybox", "sleep", "1000")
    return daemon


def test_both_streams_and_the_exit_status(base: Daemon) -> None:
    """What the command writes arrives apart; its status is docker's."""
    ran = base.docker("exec", "base", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert (ran.out, ran.err) == (b"out\n", b"err\n")


def test_stdin_is_carried(base: Daemon) -> None:
    """-i pipes in; the end of the input ends the command."""
    data = bytes(range(256)) * 4096
    assert base.docker("exec", "-i", "base", "cat", stdin=data).out == data
    assert base.docker("exec", "base", "wc", "-c", stdin=b"unseen").text == "0"


def test_user_directory_environment(base: Daemon) -> None:
    """-u, -w and -e hold for this process alone."""
    command = ("base", "sh", "-c", "id -un; pwd; echo $Q")
    ran = base.docker("exec", "-u", "nobody", "-w", "/tmp", "-e", "Q=1", *command)
    assert ran.text == "nobody\n/tmp\n1"
    assert base.docker("exec", *command).text == "root\n/"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("base", "nosuch"), 127, '"nosuch": executable file not found in $PATH'),
        (("base", "/etc/passwd"), 126, "permission denied"),
        (("-u", "nosuch", "base", "id"), 126, "unable to find user nosuch"),
        (("nosuch", "id"), 1, "No such container: nosuch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_start(base: Daemon, arguments: tuple[str, ...], code: int, words: str) -> None:
    """127 is not found, 126 cannot be run, 1 is the client's own failure."""
    ran = base.docker("exec", *arguments, code=code)
    assert words in ran.text + ran.error_text


def test_detached_execs_run_on(base: Daemon) -> None:
    """-d returns at once."""
    base.docker("exec", "-d", "base", "sh", "-c", "sleep 0.2; touch /done")
    wait_until(lambda: base.docker("exec", "base", "ls", "/done", code=None).code == 0, "done")


def test_a_killed_client_leaves_the_process(base: Daemon) -> None:
    """As under dockerd: nobody tells the process that its client has gone."""
    script = "echo up; sleep 0.3; touch /done"
    with base.docker_process("exec", "base", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    wait_until(lambda: base.docker("exec", "base", "ls", "/done", code=None).code == 0, "done")


def test_states_that_refuse(base: Daemon) -> None:
    """Paused and stopped containers refuse, and say why."""
    base.docker("pause", "base")
    assert "is paused, unpause" in base.docker("exec", "base", "true", code=1).error_text
    base.docker("unpause", "base")
    base.docker("stop", "-t", "0", "base")
    assert "is not running" in base.docker("exec", "base", "true", code=1).error_text


def test_inspect_tells_the_end(base: Daemon) -> None:
    """The exit code stays to be asked for after the end."""
    made = base.http("POST", "/containers/base/exec", {"Cmd": ["sh", "-c", "exit 9"]})
    exec_id = made.json()["Id"]
    before = base.http("GET", f"/exec/{exec_id}/json").json()
    assert (before["Running"], before["ExitCode"], before["ProcessConfig"]["entrypoint"]) == (
        False, None, "sh",
    )  # fmt: skip
    assert base.http("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 200

    def is_over() -> bool:
        now = base.http("GET", f"/exec/{exec_id}/json").json()
        return bool(now["ExitCode"] == 9 and not now["Running"])

    wait_until(is_over, "the exec has ended with 9")
    again = base.http("POST", f"/exec/{exec_id}/start", {})
    assert (again.status, again.message) == (409, f"exec command {exec_id} has already run")
