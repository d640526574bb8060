"""The docker CLI on a real terminal: -it, window sizes, Ctrl-C, detach keys."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
PROMPT = "/ # "
CTRL_C, CTRL_D, CTRL_P, CTRL_Q = "\x03", "\x04", "\x10", "\x11"


def test_a_shell_on_a_terminal(daemon: Daemon) -> None:
    """run -it gives a shell with a terminal, whose exit status is docker's; --rm cleans up."""
    with daemon.docker_on_terminal("run", "--rm", "-it", *NONE, "busybox") as terminal:
        terminal.expect(PROMPT)
        terminal.type("tty; echo $TERM\r")
        assert "/dev/pts/0\r\nxterm" in terminal.expect(PROMPT)
        terminal.type("exit 42\r")
        assert terminal.wait() == 42
    assert daemon.container_ids() == []


def test_the_windows_size_is_passed_on(daemon: Daemon) -> None:
    """The size at the start, and each change of it."""
    with daemon.docker_on_terminal(
        "run", "--rm", "-it", *NONE, "busybox", rows=33, columns=101
    ) as terminal:
        terminal.expect(PROMPT)

        def size() -> str:
            terminal.type("stty size\r")
            terminal.expect("stty size\r\n")
            return terminal.expect(PROMPT).strip()

        wait_until(lambda: size() == "33 101", "the size of the start")

        def is_resized() -> bool:
            # A change that comes before the CLI listens for them is missed, so it is made again.
            terminal.resize(rows=40, columns=132)
            terminal.resize(rows=44, columns=132)
            return size() == "44 132"

        wait_until(is_resized, "the new size")
        terminal.type("exit\r")
        assert terminal.wait() == 0


def test_ctrl_c_reaches_the_process(daemon: Daemon) -> None:
    """With -t it is the container's terminal that makes a signal of it, for its foreground."""
    with daemon.docker_on_terminal("run", "--rm", "-it", *NONE, "busybox") as terminal:
        terminal.expect(PROMPT)
        terminal.type("sh -c 'echo up; exec sleep 100'\r")
        terminal.expect("\r\nup\r\n")
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)
        terminal.type("echo $?\r")
        assert "130" in terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        terminal.wait()


def test_a_command_ended_by_ctrl_c(daemon: Daemon) -> None:
    """The process that is not a shell's child ends by it, if it has a handler or an init above."""
    command = ("run", "--rm", "-it", "--init", *NONE, "busybox", "sh", "-c", "echo up; sleep 100")
    with daemon.docker_on_terminal(*command) as terminal:
        terminal.expect("up")
        terminal.type(CTRL_C)
        assert terminal.wait() == 130


def test_exec_on_a_terminal(daemon: Daemon) -> None:
    """exec -it: a second terminal, with a size, Ctrl-C and an exit status of its own."""
    daemon.docker("run", "-d", "--name", "base", *NONE, "busybox", "sleep", "100")
    with daemon.docker_on_terminal("exec", "-it", "base", "sh", rows=30, columns=90) as terminal:
        terminal.expect(PROMPT)
        terminal.type("sh -c 'echo up; exec sleep 100'\r")
        terminal.expect("\r\nup\r\n")
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)

        def size() -> str:
            terminal.type("stty size\r")
            terminal.expect("\r\n")  # what is before it the shell may draw anew, at a new size
            return terminal.expect(PROMPT).strip()

        wait_until(lambda: size() == "30 90", "the size of the start")

        def is_resized() -> bool:
            # As above: it is made again.
            terminal.resize(rows=40, columns=120)
            terminal.resize(rows=50, columns=120)
            return size() == "50 120"

        wait_until(is_resized, "the new size")
        terminal.type("exit 7\r")
        assert terminal.wait() == 7
    assert daemon.docker("inspect", "base", "-f", "{{.State.Running}}").text == "true"


def test_attach_and_detach(daemon: Daemon) -> None:
    """Ctrl-P Ctrl-Q leaves the container running; the next one to attach goes on in its shell."""
    with daemon.docker_on_terminal("run", "-it", "--name", "shell", *NONE, "busybox") as terminal:
        terminal.expect(PROMPT)
        terminal.type("KEPT=here\r")
        terminal.expect(PROMPT)
        terminal.type(CTRL_P + CTRL_Q)
        assert terminal.wait() == 0
    assert daemon.docker("inspect", "shell", "-f", "{{.State.Running}}").text == "true"
    with daemon.docker_on_terminal("attach", "--detach-keys", "ctrl-x,x", "shell") as terminal:
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type("echo $KEPT\r")
        terminal.expect("\r\nhere\r\n")
        terminal.type("\x18x")
        assert terminal.wait() == 1  # the client's own choice, for attach
    assert daemon.docker("inspect", "shell", "-f", "{{.State.Running}}").text == "true"
    with daemon.docker_on_terminal("attach", "shell") as terminal:
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type("exit 5\r")
        assert terminal.wait() == 5


def test_exec_detaches_too(daemon: Daemon) -> None:
    """The detach keys leave an exec running."""
    daemon.docker("run", "-d", "--name", "base", *NONE, "busybox", "sleep", "100")
    command = ("exec", "-it", "--detach-keys", "ctrl-x", "base", "sh", "-c", "echo up; sleep 99")
    with daemon.docker_on_terminal(*command) as terminal:
        terminal.expect("up")
        terminal.type("\x18")
        terminal.wait()
    top = daemon.docker("top", "base", "-o", "pid,args").text
    assert "sleep 99" in top, top


def test_detached_with_a_terminal(daemon: Daemon) -> None:
    """-dit keeps a shell waiting for someone to attach; its log has what was shown."""
    daemon.docker("run", "-dit", "--name", "shell", *NONE, "busybox")
    with daemon.docker_on_terminal("attach", "shell") as terminal:
        terminal.type("echo $((40 + 2))\r")
        terminal.expect("\r\n42\r\n")
        terminal.type(CTRL_D)
        terminal.wait()
    assert "\r\n42\r\n" in daemon.docker("logs", "shell").out.decode()


def test_the_start_of_an_interactive_container(daemon: Daemon) -> None:
    """start -ai attaches before the start, and runs the same container again."""
    with daemon.docker_on_terminal("run", "-it", "--name", "shell", *NONE, "busybox") as terminal:
        terminal.expect(PROMPT)
        terminal.type("touch /kept; exit 3\r")
        assert terminal.wait() == 3
    with daemon.docker_on_terminal("start", "-ai", "shell") as terminal:
        terminal.expect(PROMPT)
        terminal.type("ls /kept; exit 4\r")
        terminal.expect("\r\n/kept\r\n")
        assert terminal.wait() == 4
