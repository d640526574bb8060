"""An agent that comes back: after kill -9, after a stop, with live-restore, without managers."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from services.cluster.dispatcher.values import NetworkView
from services.cluster.model.objects import Task
from services.cluster.model.task_state import TaskState
from tests.services.cluster.agent.scene import AgentDaemon, agent_daemon, wait_until
from tests.services.cluster.agent.support import overlay, task

pytestmark = pytest.mark.engine


def sleeper(task_id: str) -> Task:
    args = ["sh", "-c", "echo up; exec sleep 1000"]
    return task(task_id=task_id, container={"args": args, "init": True})


def come_back(daemon: AgentDaemon, *flags: str) -> None:
    daemon.start(*flags)
    wait_until(lambda: "agent" in str(daemon.tree()), "the agent")


def test_kill_9_and_live_restore() -> None:
    """What runs is adopted, what ended meanwhile has its true code; without any manager."""
    with agent_daemon("--live-restore") as daemon:
        daemon.starts_cut = True
        kill_9(daemon)


def kill_9(daemon: AgentDaemon) -> None:
    script = "until test -e /tmp/go; do sleep 0.1; done; sleep 1; exit 5"
    ends = task(task_id="k5", container={"args": ["sh", "-c", script]})
    runs = sleeper("k1")
    daemon.assign(runs, ends)
    before = daemon.wait_state("k1", TaskState.RUNNING)
    ended = daemon.wait_state("k5", TaskState.RUNNING)
    assert ended.container is not None
    daemon.docker_out("exec", "web.1.k5", "touch", "/tmp/go")
    daemon.kill()
    pid = ended.container.pid
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the container's end")
    come_back(daemon)
    assert daemon.inspect("web.1.k5")["State"]["ExitCode"] == 5
    daemon.assign(runs, ends)  # as the managers knew them: both assigned
    daemon.ask(do="mend")
    assert daemon.wait_state("k5", TaskState.FAILED).err == "task: non-zero exit (5)"
    after = daemon.wait_state("k1", TaskState.RUNNING)
    assert after.container == before.container
    assert after.running_at == before.running_at
    daemon.stop()  # with live-restore containers run on
    come_back(daemon)
    daemon.assign(runs, ends)
    daemon.ask(do="mend")
    assert daemon.wait_state("k1", TaskState.RUNNING).container == before.container
    # A task that was taken away while we were dead goes when a manager says so.
    daemon.assign(ends)
    wait_until(lambda: daemon.containers() == ["web.1.k5"], "the other container to be removed")


def test_kill_9_while_tasks_begin_and_a_stop() -> None:
    """Wherever it was: in the end each task runs in one container. A stop ends them all."""
    with agent_daemon() as daemon:
        daemon.starts_cut = True
        tasks = [sleeper(f"b{number}") for number in range(6)]
        daemon.assign(*tasks)
        wait_until(lambda: daemon.status("b0") is not None, "the first word of a task")
        daemon.kill()
        come_back(daemon)
        daemon.assign(*tasks)
        daemon.ask(do="mend")
        for one in tasks:
            daemon.wait_state(one.id, TaskState.RUNNING)
        assert sorted(daemon.containers()) == sorted(one.name for one in tasks)
        network = NetworkView(network=overlay(secrets.randbelow(250)))
        daemon.assign(*tasks, networks=(network,))
        guest = ("--name", "guest", "--network", "back", "--restart", "always")
        daemon.docker("run", "-d", "--init", *guest, "busybox", "sleep", "1000")
        daemon.wait_up(*(one.name for one in tasks))
        daemon.stop()
        come_back(daemon)
        # What is started with the engine, and needs the cluster, is started with the cluster.
        assert daemon.inspect("guest")["State"]["Status"] == "exited"
        daemon.assign(*tasks, networks=(network,))
        daemon.ask(do="mend")
        wait_until(lambda: daemon.inspect("guest")["State"]["Running"], "the guest")
        for one in tasks:
            failed = daemon.wait_state(one.id, TaskState.FAILED)
            assert failed.err == "task: non-zero exit (143)"
        daemon.docker("rm", "-f", "guest")
