"""`docker exec`, and execs by the API. On terminals: see also test_terminal.py."""

from __future__ import annotations

from pathlib import Path

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


def test_what_it_is_given(base: Daemon, tmp_path: Path) -> None:
    """--env and --env-file override the container's, --workdir and --user by name and number."""
    file = tmp_path / "env"
    file.write_text("B=from file\n# a comment\n")
    ran = base.docker(
        "exec", "--env", "A=1", "--env-file", str(file), "--workdir", "/var", "--user", "5:6",
        "base", "sh", "-c", "echo $A; echo $B; pwd; id -u; id -g",
    )  # fmt: skip
    assert ran.text.splitlines() == ["1", "from file", "/var", "5", "6"]


def test_privileges(base: Daemon) -> None:
    """--privileged gives this process what we have, and no other."""
    read = ("base", "sh", "-c", "grep CapEff /proc/self/status")
    plain, privileged = base.docker("exec", *read).text, base.docker("exec", "--privileged", *read)
    assert plain == base.docker("exec", *read).text
    assert int(privileged.text.split()[1], 16) > int(plain.split()[1], 16)


def test_a_terminal_has_its_size_before_the_process(base: Daemon) -> None:
    """--tty --interactive: nothing has to wait for a resize, and a quick command succeeds."""
    command = ("exec", "--tty", "--interactive", "base", "stty", "size")
    with base.docker_on_terminal(*command, rows=33, columns=101) as terminal:
        terminal.expect("33 101")
        assert terminal.wait() == 0


def test_detach_keys(base: Daemon) -> None:
    """--detach-keys takes the client away and leaves the process; bad ones are refused."""
    with base.docker_on_terminal(
        "exec", "-it", "--detach-keys", "ctrl-x,q", "base", "sh"
    ) as terminal:
        terminal.expect("# ")
        terminal.type("\x18q")
        assert terminal.wait() == 1
    assert "sh" in base.docker("top", "base", "-o", "pid,comm").text
    said = base.docker("exec", "--detach-keys", "bogus", "base", "true", code=1).error_text
    assert "Invalid detach keys (bogus) provided" in said


def test_a_detached_one_that_cannot_start(base: Daemon) -> None:
    """--detach has a client that hears of it."""
    ran = base.docker("exec", "--detach", "base", "nosuch", code=1)
    assert 'exec: "nosuch": executable file not found in $PATH' in ran.error_text


# What follows is dockerd's answer to raw requests that the CLI does not make.


def exec_id(base: Daemon, **config: object) -> str:
    """A prepared exec."""
    made = base.http("POST", "/containers/base/exec", {"Cmd": ["true"], **config})
    assert made.status == 201, made
    return str(made.json()["Id"])


def test_the_definition_of_an_exec_comes_back(base: Daemon) -> None:
    """As dockerd 20.10 shows it: detach keys as Go shows bytes, a user only when there is one."""
    config = {"User": "5:6", "Privileged": True, "Tty": True, "DetachKeys": "ctrl-a"}
    shown = base.http("GET", f"/exec/{exec_id(base, AttachStdin=True, **config)}/json").json()
    del shown["ID"], shown["ContainerID"]
    assert shown == {
        "CanRemove": False, "DetachKeys": "AQ==", "ExitCode": None, "OpenStderr": False,
        "OpenStdin": True, "OpenStdout": False, "Pid": 0, "Running": False,
        "ProcessConfig": {
            "arguments": [], "entrypoint": "true", "privileged": True, "tty": True, "user": "5:6",
        },
    }  # fmt: skip
    plain = base.http("GET", f"/exec/{exec_id(base)}/json").json()
    assert "user" not in plain["ProcessConfig"]


def test_a_console_size_of_the_start(base: Daemon) -> None:
    """The start may bring it too; a process that ends at once is no failure."""
    made = exec_id(base, Cmd=["stty", "size"], Tty=True, AttachStdin=True, AttachStdout=True)
    body = {"Tty": True, "ConsoleSize": [12, 34]}
    answer = base.http("POST", f"/exec/{made}/start", body)
    assert (answer.status, answer.body) == (200, b"12 34\r\n")
    assert base.http("GET", f"/exec/{made}/json").json()["ExitCode"] == 0


def test_answers_without_a_body_have_no_type(base: Daemon) -> None:
    """A detached start and a resize, as in dockerd."""
    made = exec_id(base, Cmd=["sleep", "100"], Tty=True)
    for path in (f"{made}/start", f"{made}/resize?h=10&w=20"):
        answer = base.http("POST", f"/exec/{path}", {"Detach": True, "Tty": True})
        assert (answer.status, answer.body) == (200, b"")
        assert "content-type" not in answer.headers
    again = base.http("POST", f"/exec/{made}/start", {"Detach": True})
    assert (again.status, again.message) == (409, f"exec command {made} is already running")


@pytest.mark.parametrize(
    ("ref", "body", "status", "words"),
    [
        ("nosuch", {}, 400, "No exec command specified"),
        ("nosuch", {"Cmd": ["id"]}, 404, "No such container: nosuch"),
        ("base", {"Cmd": []}, 400, "No exec command specified"),
        ("base", {"Cmd": "id"}, 400, "cannot unmarshal string into Go struct field ExecConfig.Cmd"),
        ("base", {"Cmd": ["id"], "User": 5}, 400, "cannot unmarshal number into Go struct field"),
        ("base", {"Cmd": ["id"], "ConsoleSize": [-1, "x"]}, 400, "invalid JSON"),
        ("base", {"Cmd": ["id"], "DetachKeys": "x,"}, 400, "Invalid detach keys (x,) provided"),
    ],
)
def test_bodies_that_are_none(
    base: Daemon, ref: str, body: object, status: int, words: str
) -> None:
    """The command is looked at before the container, as in dockerd."""
    answer = base.http("POST", f"/containers/{ref}/exec", body)
    assert answer.status == status
    assert words in answer.message
