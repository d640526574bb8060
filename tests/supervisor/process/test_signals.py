"""supervisor.process.signals and supervisor.process.stacks, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from supervisor.process.stacks import format_stacks, task_stacks, thread_stacks

# Says on standard output what happens; ends when drained by a second line on standard input.
PROGRAM = """
import os, sys
from pathlib import Path
import trio
from loguru import logger
from supervisor.otp.channel import Latch
from supervisor.configuration.settings import ConfigError
from supervisor.process.signals import SignalTrap

ended = Latch()

def say(text):
    print(text, flush=True)

reloads = 0

async def reload():
    global reloads
    reloads += 1
    say(f"reload {reloads}")
    if reloads == 1:
        raise ConfigError("a broken file")

async def wait_for_input():
    await trio.to_thread.run_sync(sys.stdin.readline)
    ended.set()

async def a_task_with_a_name():
    await trio.sleep_forever()

def written(message):
    text = message.record["message"]
    if text not in ("asked to end",):
        say(text)

async def main():
    logger.remove()
    logger.add(written)
    trap = SignalTrap(
        drain=lambda: say("drain"), leave=lambda: say("leave"), reload=reload, ended=ended,
        stacks_folder=Path(sys.argv[1]),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_input)
        async with trio.open_nursery() as inner:
            inner.start_soon(a_task_with_a_name)
            await nursery.start(trap.run)
            say("trapped")
            await ended.wait()
            inner.cancel_scope.cancel()
    say("ended")

trio.run(main)
"""


class Child:
    """The program above, running."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        self.expect("trapped")

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().rstrip("\n") == line

    def finish(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.expect("ended")
        return self.process.wait()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    running = Child(tmp_path)
    with running.process:
        yield running
        running.process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_request_drains_and_the_end_is_orderly(
    child: Child, number: signal.Signals
) -> None:
    """The process ends when its root has, with status 0."""
    child.process.send_signal(number)
    child.expect("drain")
    assert child.finish() == 0


def test_one_may_end_and_leave_its_containers(child: Child) -> None:
    """SIGUSR2: for the engine that comes next; a SIGTERM after it is the second request."""
    child.process.send_signal(signal.SIGUSR2)
    child.expect("leave")
    child.process.send_signal(signal.SIGTERM)
    assert child.finish() == 0


def test_the_third_request_ends_at_once(child: Child) -> None:
    """Status 128 + the number of the third signal; the two kinds count together."""
    child.process.send_signal(signal.SIGTERM)
    child.expect("drain")
    # Two of one kind that arrive together are one to the kernel; two kinds are not.
    child.process.send_signal(signal.SIGINT)
    while child.process.poll() is None:
        child.process.send_signal(signal.SIGTERM)
        try:
            child.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    child.expect("ending at once, without cleaning up")
    assert child.process.returncode == 128 + signal.SIGTERM


def test_a_reload_that_is_refused_is_told_and_the_next_one_tried(child: Child) -> None:
    """The trap goes on after a broken file."""
    child.process.send_signal(signal.SIGHUP)
    child.expect("reload 1")
    child.expect("configuration not reloaded, the old one stays")
    child.process.send_signal(signal.SIGHUP)
    child.expect("reload 2")
    assert child.finish() == 0


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1])
def test_every_tasks_stack_is_written_and_the_engine_goes_on(
    child: Child, tmp_path: Path, number: signal.Signals
) -> None:
    """A file for root only, with tasks by name, their own lines, and the threads."""
    child.process.send_signal(number)
    child.expect("stacks written")
    (path,) = tmp_path.glob("task-stacks-*.log")
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    for expected in ("a_task_with_a_name", "task __main__.main", "sleep_forever", "MainThread"):
        assert expected in text
    assert child.finish() == 0


def test_a_folder_that_cannot_be_written_is_told(child: Child, tmp_path: Path) -> None:
    """The engine does not end for want of a dump."""
    tmp_path.rmdir()
    child.process.send_signal(signal.SIGQUIT)
    child.expect("stacks not written")
    tmp_path.mkdir()
    assert child.finish() == 0


def test_a_broken_pipe_is_no_end(child: Child) -> None:
    """SIGPIPE does nothing."""
    child.process.send_signal(signal.SIGPIPE)
    assert child.finish() == 0


async def test_stacks_are_a_tree() -> None:
    """Parents before children, each a level deeper, down to where each waits."""

    async def sleeper() -> None:
        await trio.sleep_forever()

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, name="inner")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent, name="outer")
        await trio.testing.wait_all_tasks_blocked()
        stacks = {stack.title: stack for stack in task_stacks()}
        nursery.cancel_scope.cancel()
    outer = next(stack for title, stack in stacks.items() if title.startswith("task outer"))
    inner = next(stack for title, stack in stacks.items() if title.startswith("task inner"))
    assert inner.depth == outer.depth + 1
    assert inner.frames[0].name == "sleeper"


def test_threads_are_formatted_with_their_lines() -> None:
    """This thread is in this function."""
    text = format_stacks(thread_stacks())
    assert "test_threads_are_formatted_with_their_lines" in text
    assert "format_stacks(thread_stacks())" in text
