"""Containers under OTP's strategies, by labels alone."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.clients

NAMES = ("db", "app", "web")


def run(daemon: Daemon, name: str, order: int, **labels: str) -> None:
    """A member, which its policy restarts at once."""
    given = {"": "shop", ".order": str(order), **{f".{key}": text for key, text in labels.items()}}
    daemon.docker(
        "run", "-d", "--name", name, "--network", "none", "--restart", "always", "--stop-timeout",
        "0", "--label", "io.wharfinger.restart.first=10ms",
        *(f"--label=io.wharfinger.group{key}={text}" for key, text in given.items()),
        "busybox", "sleep", "1000",
    )  # fmt: skip


def pids(daemon: Daemon) -> dict[str, int]:
    """The members' processes; 0 for one that does not run."""
    return {
        name: daemon.http("GET", f"/containers/{name}/json").json()["State"]["Pid"]
        for name in NAMES
    }


def kill(daemon: Daemon, name: str) -> dict[str, int]:
    """Have a member fail; the processes before that."""
    before = pids(daemon)
    os.kill(before[name], signal.SIGKILL)
    return before


def test_the_rest_restarts_with_one(daemon: Daemon) -> None:
    """rest_for_one: those of a higher order, after it and in their order; past it all are down."""
    for order, name in enumerate(NAMES):
        run(daemon, name, order, strategy="rest_for_one", intensity="1/1h")
    before = kill(daemon, "app")

    def restarted() -> bool:
        now = pids(daemon)
        return all(now.values()) and {n for n in NAMES if now[n] != before[n]} == {"app", "web"}

    wait_until(restarted, "app and web run again")
    told: list[str] = []

    def is_told() -> bool:  # up to the last whole second
        told[:] = daemon.docker(
            "events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--filter",
            "event=start", "--filter", "label=io.wharfinger.group=shop", "--format",
            "{{.Action}} {{.Actor.Attributes.name}}",
        ).text.splitlines()  # fmt: skip
        return len(told) == len(NAMES) + 4

    wait_until(is_told, f"all events are told: {told}")
    assert told[-4:] == ["die app", "die web", "start app", "start web"]

    kill(daemon, "db")
    wait_until(lambda: not any(pids(daemon).values()), "the group is down")
    wait_until(lambda: "group has failed too often" in daemon.log_text(), "it is said why")


def started(daemon: Daemon, *names: str) -> list[str]:
    """The containers in the order of their last starts."""
    at = {
        name: daemon.http("GET", f"/containers/{name}/json").json()["State"]["StartedAt"]
        for name in names
    }
    return sorted(at, key=lambda name: at[name])


def test_what_a_failure_has_stopped_comes_back_after_a_kill(fresh_daemon: Daemon) -> None:
    """Though no policy of their own would start them; who was stopped by hand stays so."""
    daemon, group = fresh_daemon, "--label=io.wharfinger.group"
    for order, name in enumerate((*NAMES, "stopped")):
        policy = ("--restart", "always") if name == "db" else ()
        daemon.docker(
            "run", "-d", "--name", name, "--network", "none", "--stop-timeout", "0", *policy,
            "--label=io.wharfinger.restart.first=1m", f"{group}=shop", f"{group}.order={order}",
            f"{group}.strategy=one_for_all", "busybox", "sleep", "1000",
        )  # fmt: skip
    kill(daemon, "db")
    wait_until(lambda: not any(pids(daemon).values()), "the group is down")
    daemon.docker("stop", "stopped")
    daemon.kill()
    daemon.start()
    wait_until(lambda: all(pids(daemon).values()), "the group runs again")
    assert started(daemon, *NAMES) == list(NAMES)
    state = daemon.http("GET", "/containers/stopped/json").json()["State"]
    assert state["Status"] == "exited"


def test_order_of_volumes_and_of_compose_at_boot_and_end(fresh_daemon: Daemon) -> None:
    """--volumes-from and compose's label: those that are needed start first and stop last."""
    daemon, compose = fresh_daemon, "--label=com.docker.compose"
    needs = {
        "data": (f"{compose}.service=data",),
        "app": ("--volumes-from", "data:ro", f"{compose}.service=app"),
        "web": (f"{compose}.service=web", f"{compose}.depends_on=app:service_started:false"),
    }
    for name, options in needs.items():
        daemon.docker(
            "run", "-d", "--name", name, "--network", "none", "--restart", "always",
            "--stop-timeout", "0", f"{compose}.project=shop", *options, "busybox", "sleep", "1000",
        )  # fmt: skip
    daemon.restart()
    wait_until(lambda: len(daemon.docker("ps", "-q").text.split()) == len(needs), "all run again")
    assert started(daemon, *needs) == list(needs)
    finished = {
        name: daemon.http("GET", f"/containers/{name}/json").json()["State"]["FinishedAt"]
        for name in needs
    }
    assert sorted(finished, key=lambda name: finished[name]) == list(reversed(needs))


def test_a_wrong_label_is_refused(daemon: Daemon) -> None:
    """At the create, by its name."""
    ran = daemon.docker(
        "create", "--label", "io.wharfinger.group=a", "--label",
        "io.wharfinger.group.strategy=all", "busybox", code=1,
    )  # fmt: skip
    assert "invalid label io.wharfinger.group.strategy" in ran.error_text
