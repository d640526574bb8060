"""The host's ps, cut down to a container's processes."""

from __future__ import annotations

import os
import pty
import signal

import pytest

from services.containers.top import checked_arguments, list_processes, select_processes
from services.errors import InvalidParameter

EF = """UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 12:00 ?        00:00:01 /sbin/init  splash
root          42       1  0 12:00 ?        00:00:00 sleep 1000

root         142       1  0 12:00 ?        00:00:00 sh -c echo  42
"""


def test_only_the_containers_processes() -> None:
    """By the PID column alone; the last column keeps its blanks."""
    titles, rows = select_processes(EF, frozenset({42, 142}))
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert [(row[1], row[-1]) for row in rows] == [("42", "sleep 1000"), ("142", "sh -c echo  42")]


def test_the_pid_column_may_stand_anywhere() -> None:
    """As the arguments want it."""
    assert select_processes("COMMAND PID\nsh 7\nps 8\n", frozenset({8})) == (
        ["COMMAND", "PID"],
        [["ps", "8"]],
    )


async def test_a_process_on_a_terminal_of_its_own() -> None:
    """Bare column options show it too, though ps itself has another terminal or none."""
    pid, master = pty.fork()
    if pid == 0:
        signal.pause()
    try:
        titles, rows = await list_processes([pid], "-o pid,tty")
        assert titles == ["PID", "TT"]
        assert [row[0] for row in rows] == [str(pid)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


@pytest.mark.parametrize("output", ["", "\n", "CMD\nsh\n", "PPID CMD\n1 sh\n"])
def test_without_a_pid_column(output: str) -> None:
    """dockerd's refusal."""
    with pytest.raises(InvalidParameter, match="couldn't find PID field in ps output"):
        select_processes(output, frozenset({1}))


@pytest.mark.parametrize("output", ["CMD PID\nsh\n", "A B PID\nx\n"])
def test_a_row_that_is_cut_short_is_left_out(output: str) -> None:
    """A row without a PID is no reason to fail."""
    assert select_processes(output, frozenset({1}))[1] == []


async def test_ourselves() -> None:
    """The real ps, by our own id."""
    titles, rows = await list_processes([os.getpid()], "-ef")
    assert rows[0][titles.index("PID")] == str(os.getpid())
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-ef; reboot", "ps: error: unsupported SysV option"),
        ("$(x)", "ps: error: garbage option"),
        ("'", "ps: error: garbage option"),
        ("--nope", "ps: error: unknown gnu long option"),
        ("-o bogus", 'ps: error: unknown user-defined format specifier "bogus"'),
        ("-o pid,args=PID", 'specifying "pid,args=PID" is not allowed'),
        ("-o comm", "couldn't find PID field in ps output"),
        ("\0", "invalid ps arguments"),
        ("x" * 5000, "invalid ps arguments"),
    ],
)
async def test_arguments_that_ps_does_not_know(arguments: str, words: str) -> None:
    """The first line of what ps says of them: no shell reads them. Words: dockerd 20.10's."""
    with pytest.raises(InvalidParameter) as refused:
        await list_processes([os.getpid()], arguments)
    assert str(refused.value) == words


def test_threads_go_with_their_process() -> None:
    """`ps m` gives them no pid of their own."""
    output = "PID LWP CMD\n7 - sh\n- 7 -\n8 - ps\n- 8 -\n- 9 -\n"
    _, rows = select_processes(output, frozenset({8}))
    assert rows == [["8", "-", "ps"], ["-", "8", "-"], ["-", "9", "-"]]


def test_one_may_give_the_pids_a_title() -> None:
    """As long as it is theirs."""
    assert checked_arguments("-o  pid=PID,args") == ["-o", "pid=PID,args"]
