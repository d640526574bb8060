"""Three engines in one swarm, each as on a host of its own: services, and what happens to hosts."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from chaoslib.cluster.scene import ask
from lablib.engines import Engine, Lab, wait_for

from tests.support.daemon import require_docker, require_engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is missing"),
]

LIMIT_S = 120.0
RESUME_S = 3.0
AT_ONCE_S = 4.0  # no waiting for a quorum
IGNORE_TERM = "trap : TERM; while :; do sleep 1; done"
SERVE = "hostname > index.html; exec httpd -f -p 80"


class Labs:
    """The lab of the tests here; one that a test has spent is followed by another."""

    def __init__(self) -> None:
        self._lab: Lab | None = None

    @property
    def lab(self) -> Lab:
        """Three managers, which soon notice that one is gone."""
        if self._lab is None:
            self._lab = Lab(3)
            start(self._lab)
        return self._lab

    def close(self) -> None:
        """End it. Whatever was done to its daemons, no bug may have shown."""
        if self._lab is not None:
            logs = [engine.log for engine in self._lab.engines]
            self._lab.close()
            self._lab = None
            assert [log[-6000:] for log in logs if "Traceback" in log] == []


def start(lab: Lab) -> None:
    """Have it be a swarm with a service."""
    lab.start()
    lab.load_image()
    lab.make_swarm(3)
    lab.engines[0].docker("swarm", "update", "--dispatcher-heartbeat", "1s")
    lab.engines[0].docker(
        "service", "create", "--detach", "--no-resolve-image", "--name", "web",
        "--replicas", "3", "--publish", "8080:80", "--stop-grace-period", "1s",
        "busybox", "sh", "-c", SERVE,
    )  # fmt: skip
    wait_for(lambda: replicas(lab.engines[0]) == "3/3", "the service runs", LIMIT_S)


@pytest.fixture(scope="module")
def labs() -> Iterator[Labs]:
    """In whatever order the tests come."""
    require_engine()
    require_docker()
    labs = Labs()
    try:
        yield labs
    finally:
        labs.close()


@pytest.fixture
def lab(labs: Labs) -> Lab:
    """The present one."""
    return labs.lab


def replicas(engine: Engine) -> str:
    listed = engine.docker_json("service", "ls")
    return str(listed[0]["Replicas"]) if listed else ""


def answer(engine: Engine) -> str:
    """Of one of the service's tasks, by this host's port; "" for none."""
    try:
        with urllib.request.urlopen(f"http://{engine.host.address}:8080/", timeout=15) as reply:
            text: str = reply.read().decode().strip()
            return text
    except OSError:
        return ""


def set_label(engine: Engine, value: int) -> bool:
    """Whether the managers have taken the write."""
    label = f"n={value}"
    return engine.try_docker("service", "update", "--detach", "--label-add", label, "web") == "web"


def label(engine: Engine) -> int:
    return int(engine.docker("service", "inspect", "web", "--format", "{{.Spec.Labels.n}}"))


def wait_settled(lab: Lab) -> None:
    """Block until there is a container for each of four tasks, and no other."""
    scale = ("service", "scale", "--detach", "web=4")
    wait_for(lambda: lab.engines[0].try_docker(*scale) is not None, "it is scaled", LIMIT_S)

    def is_settled() -> bool:
        running = [engine.docker("ps", "-q").split() for engine in lab.engines]
        return sum(map(len, running)) == 4 and replicas(lab.engines[0]) == "4/4"

    wait_for(is_settled, "only what is wanted runs", LIMIT_S)


@contextmanager
def steady_requests(lab: Lab) -> Iterator[list[str]]:
    """To each host in turn, until the block is left; the answers."""
    answers: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answers.append(answer(lab.engines[len(answers) % len(lab.engines)]))
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        is_over.set()
        asking.join()


def test_each_host_leads_to_every_task(lab: Lab) -> None:
    """Its port is published everywhere, and the tasks take turns; scaled, there are as many."""
    first = lab.engines[0]
    first.docker("service", "scale", "--detach", "web=4")
    wait_for(lambda: replicas(first) == "4/4", "four run", LIMIT_S)
    for engine in lab.engines:
        seen: set[str] = set()
        deadline = time.monotonic() + LIMIT_S
        while len(seen) < 4 and time.monotonic() < deadline:
            seen |= {answer(engine)} - {""}
        assert len(seen) == 4


def test_a_network_is_removed_under_tasks_that_end(lab: Lab) -> None:
    """At once: no manager shows it, its name is free. The task keeps its place until it has ended;
    who asks for the same subnet has it then, and not before."""
    first = lab.engines[0]
    make_network = ("network", "create", "-d", "overlay", "--subnet", "10.77.0.0/24")
    stubborn = ("--stop-grace-period", "10m", "busybox", "sh", "-c", IGNORE_TERM)
    service = ("service", "create", "--detach", "--no-resolve-image", "--network", "gone", "--name")
    old = first.docker(*make_network, "gone")
    first.docker(*service, "stays", *stubborn)
    wait_for(lambda: bool(container_of(lab, "stays")), "it runs", LIMIT_S)
    engine, container = container_of(lab, "stays")[0]
    first.docker("service", "rm", "stays")
    first.docker("network", "rm", "gone")
    wait_for(lambda: not any(map(shows_gone, lab.engines)), "it is gone", LIMIT_S)
    new = first.docker(*make_network, "gone")
    assert first.docker("network", "inspect", "--format", "{{.Id}}", "gone") == new != old
    first.docker(*service, "again", "busybox", "sleep", "3600")
    assert "10.77.0." in engine.docker("exec", container, "ip", "addr")
    refusal = "it overlaps with 10.77.0.0/24"
    wait_for(lambda: any(refusal in one.log for one in lab.engines), "it waits", LIMIT_S)
    engine.docker("kill", container)
    wait_for(lambda: bool(container_of(lab, "again")), "the other one runs", LIMIT_S)
    first.docker("service", "rm", "again")
    first.docker("network", "rm", "gone")


def container_of(lab: Lab, service: str) -> list[tuple[Engine, str]]:
    """Where containers of a service run."""
    label = f"label=com.docker.swarm.service.name={service}"
    return [
        (engine, container)
        for engine in lab.engines
        for container in engine.docker("ps", "-q", "--filter", label).split()
    ]


def shows_gone(engine: Engine) -> bool:
    return "gone" in engine.docker("network", "ls", "--format", "{{.Name}}").split()


def test_a_rolling_update_loses_no_request(lab: Lab) -> None:
    """New tasks are started first, and none is taken away while connections are led to it."""
    first = lab.engines[0]
    with steady_requests(lab) as answers:
        first.docker(
            "service", "update", "--detach", "--force", "--update-order", "start-first",
            "--update-monitor", "500ms", "web",
        )  # fmt: skip
        # There is no status until the leader has seen the update.
        shown = "{{with .UpdateStatus}}{{.State}}{{end}}"
        state = ("service", "inspect", "web", "--format", shown)
        wait_for(lambda: first.docker(*state) == "completed", "it is updated", LIMIT_S)
    assert len(answers) > 20
    assert answers.count("") == 0


def test_the_leaders_death_loses_nothing_and_holds_nobody_up_for_long(lab: Lab) -> None:
    """Its daemon and its etcd are killed: what was acknowledged is there, the others go on, its
    containers run, and it comes back as a follower."""
    wait_settled(lab)
    led = lab.wait_leader(LIMIT_S)
    others = [engine for engine in lab.engines if engine is not led]
    before = led.docker("ps", "-q")
    began = time.monotonic()
    assert set_label(others[0], 1)
    call_s = time.monotonic() - began  # what this machine takes for it with nothing broken
    led.kill()
    began = time.monotonic()
    wait_for(lambda: set_label(others[0], 2), "writes are taken again", LIMIT_S)
    took_s = time.monotonic() - began
    # Calls may have failed in the election, and the last one has gone through.
    limit_s = RESUME_S + 4 * call_s
    assert took_s < limit_s, f"writes resumed after {took_s:.1f} s; one takes {call_s:.1f} s"
    assert label(others[1]) == 2
    wait_for(lambda: answer(others[0]), "the service answers", LIMIT_S)
    led.start()
    led.wait_answering()
    assert led.docker("ps", "-q") == before
    wait_for(lambda: led.try_docker("node", "ls") is not None, "it is a manager again", LIMIT_S)
    assert label(led) == 2
    assert set_label(led, 3)


def test_a_host_that_is_cut_off_is_replaced_and_comes_back(lab: Lab) -> None:
    """Its tasks go on meanwhile; the others take over; when it is back it lets go of what is not
    its own any more."""
    wait_settled(lab)
    led = lab.wait_leader(LIMIT_S)
    lost = next(engine for engine in lab.engines if engine is not led)
    its_own = lost.docker("ps", "-q").split()
    lost.host.cut()
    try:
        down = ("node", "ls", "--filter", f"name={lost.host.name}", "--format", "{{.Status}}")
        wait_for(lambda: led.docker(*down) == "Down", "it is missed", LIMIT_S)
        assert lost.docker("ps", "-q").split() == its_own
        there = ("service", "ps", "web", "--filter", "desired-state=running", "--format")
        wait_for(
            lambda: (
                lost.host.name not in led.docker(*there, "{{.Node}}")
                and led.docker(*there, "{{.CurrentState}}").count("Running") == 4
            ),
            "it is replaced",
            LIMIT_S,
        )
        wait_for(lambda: answer(led), "the service answers", LIMIT_S)
    finally:
        lost.host.mend()
    wait_for(lambda: led.docker(*down) == "Ready", "it is back", LIMIT_S)
    wait_for(lambda: not set(lost.docker("ps", "-q").split()) & set(its_own), "it let go", LIMIT_S)
    wait_for(lambda: answer(lost), "its port leads on", LIMIT_S)


def test_without_a_quorum_it_is_read_and_taken_back(lab: Lab, labs: Labs) -> None:
    """Two of three managers are lost: what is known is told with its age, writes are refused at
    once in a sentence that helps, and with its help one manager goes on alone; a lost one that
    comes back disturbs nobody."""
    wait_settled(lab)
    first, second, third = lab.engines
    assert set_label(first, 7)
    its_own = first.docker("ps", "-q").split()
    second.kill()
    third.kill()
    wait_for(lambda: int(ask(first, "GET", "/services/web").fields.get("Age", "0")) > 3,
             "reads tell their age", LIMIT_S)  # fmt: skip
    read = ask(first, "GET", "/services/web")
    assert read.body["Spec"]["Labels"]["n"] == "7"
    assert "s old" in first.docker("info")
    version = read.body["Version"]["Index"]
    began = time.monotonic()
    refused = ask(first, "POST", f"/services/web/update?version={version}", read.body["Spec"])
    took_s = time.monotonic() - began
    assert refused.status == 503
    assert "docker swarm init --force-new-cluster" in refused.text
    assert took_s < AT_ONCE_S, f"it was refused after {took_s:.1f} s"
    assert first.docker("ps", "-q").split() == its_own

    first.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", first.host.address)
    assert label(first) == 7
    assert set_label(first, 8)
    assert set(its_own) <= set(first.docker("ps", "-q").split())
    second.start()
    second.wait_answering()
    assert not set_label(second, 9)
    assert set_label(first, 10)
    wait_for(lambda: replicas(first) == "4/4", "its tasks are replaced", LIMIT_S)
    assert label(first) == 10
    labs.close()  # its managers are no swarm any more
