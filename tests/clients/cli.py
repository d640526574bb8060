"""What the tests of the docker CLI's commands share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.support.daemon import Daemon, wait_until

NONE: Final = ("--network", "none")
"""Where the network does not matter: a start without one is quicker."""


def start(daemon: Daemon, *options: str, name: str = "box", command: tuple[str, ...] = ()) -> str:
    """A detached container; its id."""
    words = command or ("sleep", "1000")
    options = _networked(options)
    return daemon.docker("run", "-d", "--name", name, *options, "busybox", *words).text


def start_trapping(daemon: Daemon, traps: str, *options: str, name: str = "box") -> str:
    """A detached container whose shell has set `traps` already and waits; its id."""
    script = f"{traps}; echo up; while :; do sleep 0.05; done"
    started = start(daemon, *options, name=name, command=("sh", "-c", script))
    wait_until(lambda: "up" in daemon.docker("logs", name).text, f"the traps of {name} are set")
    return started


def create(daemon: Daemon, *options: str, name: str = "box", command: tuple[str, ...] = ()) -> str:
    """A container that does not run; its id."""
    options = _networked(options)
    return daemon.docker("create", "--name", name, *options, "busybox", *command).text


def _networked(options: tuple[str, ...]) -> tuple[str, ...]:
    """Without a network, unless the test says which."""
    return options if "--network" in options else (*NONE, *options)


def state(daemon: Daemon, what: str, name: str = "box") -> str:
    """One field of an inspect's State."""
    return shown(daemon, f"State.{what}", name)


def shown(daemon: Daemon, what: str, name: str = "box") -> str:
    """One field of an inspect, as the CLI's templates show it."""
    return daemon.docker("inspect", name, "-f", f"{{{{.{what}}}}}").text


def inspected(daemon: Daemon, name: str = "box") -> dict[str, Any]:
    """A whole inspect."""
    answer: dict[str, Any] = daemon.http("GET", f"/containers/{name}/json").json()
    return answer


def refusal(daemon: Daemon, *words: str, code: int = 1) -> str:
    """What a command that ends with `code` says, without "Error response from daemon"."""
    said = daemon.docker(*words, code=code).error_text
    return said.replace("Error response from daemon: ", "")


def wait_command(daemon: Daemon, command: str, name: str = "box") -> None:
    """Wait until a container's first process is what it is to run: it is the runtime's before."""
    path = f"/containers/{name}/top?ps_args=-eo%20pid,args"

    def is_run() -> bool:
        return command in [row[-1] for row in daemon.http("GET", path).json()["Processes"]]

    wait_until(is_run, f"{name} runs {command}")


@contextmanager
def events_followed(daemon: Daemon, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client that follows the events, from the moment at which the engine tells it of them."""
    wait_until(lambda: listeners(daemon) == 0, "the listeners of other tests have gone")
    with daemon.docker_process("events", *options) as process:
        wait_until(lambda: listeners(daemon) > 0, "it listens")
        yield process


def listeners(daemon: Daemon) -> int:
    """How many follow the events."""
    return int(daemon.http("GET", "/info").json()["NEventsListener"])
