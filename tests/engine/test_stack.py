"""Six engines in one swarm, each as on a host of its own, with a stack of four services."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from lablib.engines import Engine, Lab, wait_for

from tests.support.daemon import require_docker, require_engine
from tests.support.steady import requested, steady_requests
from tests.support.watching import Watch

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),  # a machine of two cores that others use, too
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is missing"),
]

LIMIT_S: Final = 300.0  # six engines on two cores that others use, too
STACK: Final = Path(__file__).parent / "shop" / "stack.yml"
PORT: Final = 8080
GRACE_S: Final = 5.0
"""In which names and addresses are right again."""
WEB: Final = "shop_web"
MANAGERS: Final = 3
SEEN_S: Final = 3.0
"""In which all nodes hear of what managers have decided."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three managers, which soon notice that a node is gone, and three workers, with a stack of
    four services."""
    require_engine()
    require_docker()
    lab = Lab(6)
    try:
        lab.start()
        lab.load_image()
        lab.make_swarm(MANAGERS)
        first = lab.engines[0]
        first.docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        first.docker("stack", "deploy", "-c", str(STACK), "--resolve-image", "never", "shop")
        wait_running(lab, back=2, each=6, turns=2, web=3)
        for engine in lab.engines:
            wait_for(partial(answer, engine), "the port is published", LIMIT_S)
        yield lab
    finally:
        lab.close()


def replicas(engine: Engine) -> dict[str, str]:
    """Of each service, as `docker service ls` has it."""
    listed = engine.docker_json("stack", "services", "shop")
    return {one["Name"].removeprefix("shop_"): one["Replicas"] for one in listed}


def wait_running(lab: Lab, **wanted: int) -> None:
    """Block until so many tasks of these services run, as its managers say."""

    def is_so() -> bool:
        there = replicas(lab.engines[0])
        return all(there[name] == f"{count}/{count}" for name, count in wanted.items())

    wait_for(is_so, f"{wanted} run", LIMIT_S)


def wait_settled(lab: Lab, count: int) -> None:
    """Block until there are so many containers of the web service, and no other."""

    def is_settled() -> bool:
        found = [engine.docker("ps", "-q", "-f", f"name={WEB}").split() for engine in lab.engines]
        return sum(map(len, found)) == count

    wait_running(lab, web=count)
    wait_for(is_settled, "only what is wanted runs", LIMIT_S)


def answer(engine: Engine) -> str:
    """Of one of the web service's tasks, by this host's port; "" for none."""
    try:
        return requested(engine.host.address, PORT)
    except OSError:
        return ""


def answers(engine: Engine, count: int) -> set[str]:
    """Of as many tasks of the web service, by this host's port; fewer if more do not answer."""
    seen: set[str] = set()
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < count and time.monotonic() < deadline:
        seen |= {answer(engine)} - {""}
    return seen


def in_each(engine: Engine) -> str:
    """The container of the global service on a host."""
    return engine.docker("ps", "-q", "-f", "name=shop_each")


def update_state(engine: Engine) -> str:
    status = "{{with .UpdateStatus}}{{.State}}{{end}}"
    return engine.docker("service", "inspect", WEB, "--format", status)


def scale(engine: Engine, count: int) -> None:
    """The client says so again if the managers have written the service meanwhile."""
    command = ("service", "scale", "--detach", f"{WEB}={count}")
    wait_for(lambda: engine.try_docker(*command) is not None, "it is scaled", LIMIT_S)


def addresses(lab: Lab) -> list[str]:
    return [engine.host.address for engine in lab.engines]


def test_each_host_leads_to_every_task(lab: Lab) -> None:
    """The port is published everywhere; tasks have their config and secret, and reach each other
    by name. Scaled from 1 to 30 to 3 there are as many, and no more."""
    first = lab.engines[0]
    for engine in lab.engines:
        wait_for(lambda: answer(engine).startswith("hello from a config\n"), "it answers", LIMIT_S)  # noqa: B023
        asked = ("exec", in_each(engine), "wget", "-qO-", "http://back/")
        wait_for(lambda: engine.try_docker(*asked) == "a secret", "it has its secret", LIMIT_S)  # noqa: B023
        turns = ("exec", in_each(engine), "nslookup", "turns")
        wait_for(lambda: (engine.try_docker(*turns) or "").count("Name:") == 2, "both", LIMIT_S)  # noqa: B023
    for count in (1, 30, 3):
        scale(first, count)
        wait_settled(lab, count)
    for engine in lab.engines:
        assert len(answers(engine, 3)) == 3


def test_a_rolling_update_loses_no_request(lab: Lab) -> None:
    """Of ten replicas, at 200 requests a second: new tasks are begun first, and none ends while
    connections are led to it."""
    first = lab.engines[0]
    scale(first, 10)
    wait_settled(lab, 10)
    with steady_requests(addresses(lab), PORT, per_s=200) as told:
        update = ("service", "update", "--detach", "--force", WEB)
        wait_for(lambda: first.try_docker(*update) is not None, "it is taken", LIMIT_S)
        wait_for(lambda: update_state(first) == "completed", "it is updated", LIMIT_S)
        wait_settled(lab, 10)
    assert told.count > 400
    assert not told.failures, "\n".join(map(str, sorted(told.failures)))


def test_a_failing_update_rolls_back(lab: Lab) -> None:
    """The client is told; nobody who asks the service sees anything of it."""
    first = lab.engines[0]
    scale(first, 3)
    wait_settled(lab, 3)
    before = answers(lab.engines[0], 3)
    with steady_requests(addresses(lab), PORT, per_s=20) as told:
        said = first.docker("service", "update", "--args", "false", WEB, limit_s=LIMIT_S)
        wait_for(lambda: update_state(first) == "rollback_completed", "it is back", LIMIT_S)
    assert "rollback: " in said  # why, or that it is done, whichever the client saw last
    assert told.failures == []
    wait_settled(lab, 3)
    assert answers(lab.engines[0], 3) == before


def test_a_network_that_a_node_does_not_know_is_noted(lab: Lab) -> None:
    """A container that does not run is connected to it, as with dockerd, and disconnected; when it
    starts the managers are asked for its place."""
    worker = lab.engines[-1]
    lab.engines[0].docker("network", "create", "-d", "overlay", "--attachable", "side")
    worker.docker("create", "--name", "late", "busybox", "sleep", "infinity")
    for command in ("connect", "disconnect", "connect"):
        worker.docker("network", command, "side", "late")
    worker.docker("start", "late")
    address = '{{(index .NetworkSettings.Networks "side").IPAddress}}'
    assert worker.docker("inspect", "late", "--format", address).startswith("10.0.")
    worker.docker("rm", "-f", "late")
    gone = ("network", "rm", "side")
    wait_for(lambda: lab.engines[0].try_docker(*gone) is not None, "it is removed", LIMIT_S)


def test_a_worker_that_is_cut_off_is_replaced_and_comes_back(lab: Lab) -> None:
    """Its tasks go on meanwhile; the others take over after the stated grace. From 5 s after it is
    back no name is wrong anywhere, and no address: services' own, and published ports."""
    scale(lab.engines[0], 3)
    wait_settled(lab, 3)
    led = lab.wait_leader(LIMIT_S)
    lost = next(e for e in lab.engines[MANAGERS:] if e.docker("ps", "-q", "-f", f"name={WEB}"))
    its_own = set(lost.docker("ps", "-q").split())
    watch = Watch({engine.host.address: watcher(engine) for engine in lab.engines}, PORT)
    with watch.watching():
        cut_at = time.time()
        lost.host.cut()
        try:
            down = ("node", "ls", "--filter", f"name={lost.host.name}", "--format", "{{.Status}}")
            wait_for(lambda: led.docker(*down) == "Down", "it is missed", LIMIT_S)
            there = ("service", "ps", WEB, "--filter", "desired-state=running", "--format")
            wait_for(
                lambda: (
                    lost.host.name not in led.docker(*there, "{{.Node}}")
                    and led.docker(*there, "{{.CurrentState}}").count("Running") == 3
                ),
                "it is replaced",
                LIMIT_S,
            )
            replaced_at = time.time()
            assert its_own <= set(lost.docker("ps", "-q").split())
            time.sleep(SEEN_S + 2.0)
        finally:
            back_at = time.time()
            lost.host.mend()
        wait_for(lambda: led.docker(*down) == "Ready", "it is back", LIMIT_S)
        wait_settled(lab, 3)
        time.sleep(max(0.0, back_at + GRACE_S + 2.0 - time.time()))
    own = lost.host.address
    wrong = [one for one in watch.wrong if one.node != own]
    assert not [one for one in wrong if replaced_at + SEEN_S < one.at < back_at], wrong
    late = [one for one in watch.wrong if one.at > back_at + GRACE_S]
    assert not late, (cut_at, replaced_at, back_at, late)
    assert watch.count > 50


def watcher(engine: Engine) -> int:
    """The process of a container of nobody's in the stack's network: it stays, whatever becomes of
    the node."""
    made = engine.docker("run", "-d", "--network", "shop_mesh", "busybox", "sleep", "infinity")
    return int(engine.docker("inspect", made, "--format", "{{.State.Pid}}"))


def test_no_daemon_has_failed(lab: Lab) -> None:
    """Whatever was done to them, no bug has shown."""
    for engine in lab.engines:
        assert "Traceback" not in engine.log, engine.log[-6000:]
