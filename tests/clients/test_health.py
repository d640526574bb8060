"""Health checks, as people use them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, image_archive, wait_until
from tests.support.fixtures import DaemonFactory

pytestmark = [pytest.mark.engine, pytest.mark.clients]

EVERY = ("--health-interval", "300ms")
PATIENT = ("--health-timeout", "1h")
UNTIL = "until test -e {}; do sleep 0.05; done"
"""A probe that lasts until a test has seen what it wants to see before."""


def health(daemon: Daemon, name: str) -> dict[str, Any]:
    """`State.Health`; empty when there is none."""
    found: dict[str, Any] = inspect(daemon, name)["State"].get("Health", {})
    return found


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.http("GET", f"/containers/{name}/json").json()
    return answer


def wait_status(daemon: Daemon, name: str, status: str) -> None:
    wait_until(lambda: health(daemon, name)["Status"] == status, f"{name} is {status}")


def run(daemon: Daemon, name: str, *options: str) -> None:
    daemon.docker("run", "-d", "--name", name, *EVERY, *options, "busybox", "sleep", "1000")


def status_of(daemon: Daemon, *filters: str) -> str:
    options = [word for one in filters for word in ("--filter", one)]
    return daemon.docker("ps", "--format", "{{.Status}}", *options).text


def actions(daemon: Daemon, name: str) -> list[str]:
    """What was told of a container, in order; of execs only that there was one."""
    return [event["Action"] for event in events(daemon, name)]


def events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """All that was told of a container."""
    filters = json.dumps({"container": [name], "type": ["container"]})
    past = f"/events?since=1&until={time.time():.6f}&filters={filters}"
    return daemon.http("GET", past.replace('"', "%22").replace(" ", "")).json_lines()


def processes(daemon: Daemon, name: str) -> list[str]:
    answer = daemon.http("GET", f"/containers/{name}/top?ps_args=-eo%20pid,args").json()
    return [row[-1] for row in answer["Processes"]]


def checked_image() -> bytes:
    """An archive with checked:latest: busybox with a HEALTHCHECK and a SHELL of its own."""
    made = io.BytesIO()
    with tarfile.open(image_archive()) as source, tarfile.open(fileobj=made, mode="w") as target:
        files = {one.name: source.extractfile(one) for one in source.getmembers() if one.isfile()}
        data = {name: file.read() for name, file in files.items() if file is not None}
        manifest = json.loads(data.pop("manifest.json"))[0]
        config = json.loads(data.pop(manifest["Config"]))
        config["config"] |= {
            "Healthcheck": {"Test": ["CMD-SHELL", "echo $0 $CHECKED"], "Interval": 300_000_000},
            "Shell": ["/bin/sh", "-uc"],
        }
        text = json.dumps(config).encode()
        name = f"{hashlib.sha256(text).hexdigest()}.json"
        manifest |= {"Config": name, "RepoTags": ["checked:latest"]}
        data |= {name: text, "manifest.json": json.dumps([manifest]).encode()}
        for path, content in data.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_an_images_check_is_run_or_switched_off(fresh_daemon: Daemon) -> None:
    """With the image's shell and the container's environment; NONE and options go before it."""
    daemon = fresh_daemon
    answer = daemon.http("POST", "/images/load?quiet=1", checked_image())
    assert answer.status == 200, answer
    assert b"error" not in answer.body, answer
    sleep = ("checked", "sleep", "1000")
    daemon.docker("run", "-d", "--name", "hc-image", "-e", "CHECKED=yes", *sleep)
    wait_status(daemon, "hc-image", "healthy")
    assert health(daemon, "hc-image")["Log"][0]["Output"] == "/bin/sh yes\n"
    daemon.docker("run", "-d", "--name", "hc-off", "--no-healthcheck", *sleep)
    assert "Health" not in inspect(daemon, "hc-off")["State"]
    # -u: a variable that is not set is an error
    daemon.docker("run", "-d", "--name", "hc-own", "--health-retries", "1", *sleep)
    wait_status(daemon, "hc-own", "unhealthy")


def test_it_becomes_unhealthy_and_healthy_again(daemon: Daemon) -> None:
    """After as many failures as asked for in a row, and after one success."""
    check = f"{UNTIL.format('/begin')}; cat /ok || exit 3"
    run(daemon, "hc-turns", "--health-cmd", check, "--health-retries", "2", *PATIENT)
    assert health(daemon, "hc-turns")["Status"] == "starting"
    assert status_of(daemon).endswith("(health: starting)")
    daemon.docker("exec", "hc-turns", "touch", "/begin")
    wait_status(daemon, "hc-turns", "unhealthy")
    found = health(daemon, "hc-turns")
    assert found["FailingStreak"] >= 2
    entry = found["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (
        3, "cat: can't open '/ok': No such file or directory\n",
    )  # fmt: skip
    assert entry["Start"] < entry["End"]
    assert status_of(daemon, "health=unhealthy").endswith("(unhealthy)")
    assert status_of(daemon, "health=healthy") == ""
    daemon.docker("exec", "hc-turns", "touch", "/ok")
    wait_status(daemon, "hc-turns", "healthy")
    assert health(daemon, "hc-turns")["FailingStreak"] == 0
    assert status_of(daemon, "health=healthy").endswith("(healthy)")
    summary = daemon.http("GET", "/v1.52/containers/json").json()[0]
    assert summary["Health"] == {"Status": "healthy", "FailingStreak": 0}
    told = actions(daemon, "hc-turns")
    changes = [action for action in told if action.startswith("health_status")]
    assert changes == ["health_status: unhealthy", "health_status: healthy"]
    probe = f"/bin/sh -c {check}"
    of_execs = [one for one in events(daemon, "hc-turns") if one["Action"].startswith("exec_")]
    first = next(one for one in of_execs if one["Action"] == f"exec_create: {probe}")
    id_ = first["Actor"]["Attributes"]["execID"]
    assert [one["Action"] for one in of_execs if one["Actor"]["Attributes"]["execID"] == id_] == [
        f"exec_create: {probe}", f"exec_start: {probe}", "exec_die",
    ]  # fmt: skip


def test_only_the_last_five_results_are_kept(daemon: Daemon) -> None:
    """And of each the first 4096 bytes; ended probes are no execs of the container."""
    run(daemon, "hc-keeps", "--health-cmd", "head -c 5000 /dev/zero | tr '\\0' x")
    wait_until(lambda: len(health(daemon, "hc-keeps")["Log"]) == 5, "five probes were made")
    first = health(daemon, "hc-keeps")["Log"][0]
    assert first["Output"] == "x" * 4096 + "..."
    wait_until(lambda: health(daemon, "hc-keeps")["Log"][0] != first, "the oldest result went")
    assert len(health(daemon, "hc-keeps")["Log"]) == 5
    assert len(inspect(daemon, "hc-keeps")["ExecIDs"] or []) <= 1


def test_a_probe_that_takes_too_long_is_killed_with_its_children(daemon: Daemon) -> None:
    """Nothing of it goes on in the container, its output and dockerd's text are kept."""
    command = "echo hm; sleep 777 >/dev/null 2>&1 & sleep 778"
    options = ("--health-timeout", "1s", "--health-retries", "1", "--health-interval", "1500ms")
    run(daemon, "hc-slow", "--health-cmd", command, *options)
    wait_status(daemon, "hc-slow", "unhealthy")
    entry = health(daemon, "hc-slow")["Log"][0]
    assert entry["ExitCode"] == -1

    def outputs() -> list[str]:
        return [one["Output"] for one in health(daemon, "hc-slow")["Log"]]

    # Where a machine takes the whole second to come to the first word, the next one may be said.
    wait_until(lambda: "Health check exceeded timeout (1s): hm\n" in outputs(), "it is kept")

    def is_alone() -> bool:
        return processes(daemon, "hc-slow") == ["sleep 1000"]

    wait_until(is_alone, "the probe's processes are gone")
    wait_until(lambda: len(outputs()) >= 3, "it is probed again")
    wait_until(is_alone, "nothing of three probes is left")


def test_a_command_that_is_not_there(daemon: Daemon) -> None:
    """What the runtime says is the output."""
    check = {"Test": ["CMD", "/nope"], "Interval": 300_000_000, "Retries": 1}
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "Healthcheck": check}
    answer = daemon.http("POST", "/containers/create?name=hc-nope", body)
    assert answer.status == 201, answer
    assert health(daemon, "hc-nope") == {}
    daemon.docker("start", "hc-nope")
    wait_status(daemon, "hc-nope", "unhealthy")
    entry = health(daemon, "hc-nope")["Log"][0]
    assert entry["ExitCode"] == -1
    assert "/nope" in entry["Output"]


def test_failures_in_the_start_period_do_not_count(daemon: Daemon) -> None:
    """Its probes come at the start interval; the first success makes it healthy."""
    times = ("--health-start-period", "1h", "--health-start-interval", "200ms")
    options = (*times, "--health-retries", "1", "--health-interval", "60s")
    run(daemon, "hc-starts", "--health-cmd", "test -e /ok", *options)
    wait_until(lambda: len(health(daemon, "hc-starts")["Log"]) >= 3, "three probes were made")
    found = health(daemon, "hc-starts")
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    daemon.docker("exec", "hc-starts", "touch", "/ok")
    wait_status(daemon, "hc-starts", "healthy")


def test_none_is_no_check(daemon: Daemon) -> None:
    """No health is shown, and the list says so."""
    daemon.docker(
        "run", "-d", "--name", "hc-none", "--no-healthcheck", "busybox", "sleep", "1000"
    )  # fmt: skip
    assert "Health" not in inspect(daemon, "hc-none")["State"]
    assert inspect(daemon, "hc-none")["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert "(" not in status_of(daemon, "health=none")
    assert daemon.http("GET", "/containers/json").json()[0]["Health"]["Status"] == "none"


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ({"Test": ["CMD", "a"], "Interval": 1}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Test": ["CMD", "a"], "Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_impossible_checks_are_refused(daemon: Daemon, check: dict[str, Any], text: str) -> None:
    """With dockerd's words, before anything is made."""
    body = {"Image": "busybox", "Cmd": ["true"], "Healthcheck": check}
    answer = daemon.http("POST", "/containers/create", body)
    assert (answer.status, answer.json()["message"]) == (400, text)


def test_each_start_begins_anew(daemon: Daemon) -> None:
    """What has ended is unhealthy without an event; what was started again is starting."""
    options = ("--tmpfs", "/run", *PATIENT)  # which is empty at each start
    run(daemon, "hc-anew", "--health-cmd", UNTIL.format("/run/ok"), *options)
    daemon.docker("exec", "hc-anew", "touch", "/run/ok")
    wait_status(daemon, "hc-anew", "healthy")
    daemon.docker("stop", "-t", "0", "hc-anew")
    wait_status(daemon, "hc-anew", "unhealthy")
    assert "healthy" not in status_of(daemon)
    daemon.docker("start", "hc-anew")
    found = health(daemon, "hc-anew")
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    daemon.docker("exec", "hc-anew", "touch", "/run/ok")
    wait_status(daemon, "hc-anew", "healthy")
    changes = [a for a in actions(daemon, "hc-anew") if a.startswith("health_status")]
    assert set(changes) == {"health_status: healthy"}


def test_a_paused_container_is_not_probed(daemon: Daemon) -> None:
    """As under dockerd it is unhealthy meanwhile, and healthy after the next success."""
    run(daemon, "hc-pause", "--health-cmd", "true")
    wait_status(daemon, "hc-pause", "healthy")
    daemon.docker("pause", "hc-pause")
    assert status_of(daemon).endswith("(Paused)")
    wait_status(daemon, "hc-pause", "unhealthy")
    before = len(actions(daemon, "hc-pause"))
    time.sleep(1)
    assert not [a for a in actions(daemon, "hc-pause")[before:] if a.startswith("exec_create")]
    daemon.docker("unpause", "hc-pause")
    wait_status(daemon, "hc-pause", "healthy")


def test_a_probe_does_not_hold_up_the_end(daemon: Daemon) -> None:
    """It ends with its container, says nothing of it any more, and a start follows at once."""
    run(daemon, "hc-stop", "--health-cmd", "sleep 100", "--health-retries", "1", *PATIENT)
    wait_until(lambda: "sleep 100" in processes(daemon, "hc-stop"), "it is being probed")
    began = time.monotonic()
    daemon.docker("kill", "hc-stop")
    daemon.docker("start", "hc-stop")
    assert time.monotonic() - began < 60  # the probe takes longer
    wait_until(lambda: "sleep 100" in processes(daemon, "hc-stop"), "it is being probed again")
    daemon.docker("rm", "-f", "hc-stop")
    assert not [a for a in actions(daemon, "hc-stop") if a.startswith("health_status")]


def test_a_restart_by_the_policy_begins_anew(daemon: Daemon) -> None:
    """Also one that nobody asked for: it is told to be unhealthy once more."""
    options = ("--health-cmd", "false", "--health-retries", "2", "--restart", "on-failure")
    run(daemon, "hc-again", *options)
    wait_status(daemon, "hc-again", "unhealthy")
    os.kill(inspect(daemon, "hc-again")["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: inspect(daemon, "hc-again")["RestartCount"] == 1, "it was restarted")
    wait_until(
        lambda: actions(daemon, "hc-again").count("health_status: unhealthy") == 2,
        "its second run is probed too",
    )


def test_another_engine_goes_on_probing(fresh_daemon: Daemon) -> None:
    """What it adopts begins at `starting`; what had ended is unhealthy without results."""
    run(fresh_daemon, "hc-lives", "--health-cmd", "test -e /ok", "--health-retries", "1")
    run(fresh_daemon, "hc-ended", "--health-cmd", "true")
    wait_status(fresh_daemon, "hc-lives", "unhealthy")
    fresh_daemon.docker("kill", "hc-ended")
    fresh_daemon.kill()
    fresh_daemon.start()
    wait_until(lambda: health(fresh_daemon, "hc-lives")["Log"], "it is probed again")
    fresh_daemon.docker("exec", "hc-lives", "touch", "/ok")
    wait_status(fresh_daemon, "hc-lives", "healthy")
    ended = {"Status": "unhealthy", "FailingStreak": 0, "Log": []}
    assert health(fresh_daemon, "hc-ended") == ended


def test_a_probe_ends_with_the_engine(make_daemon: DaemonFactory) -> None:
    """The container goes on without it (live-restore), what probed it does not."""
    one = make_daemon("--live-restore")
    command = "sleep 779 & sleep 780"
    run(one, "hc-live", "--health-cmd", command, "--health-retries", "1", *PATIENT)

    def is_probed() -> bool:
        return {"sleep 779", "sleep 780"} <= set(processes(one, "hc-live"))

    wait_until(is_probed, "it is being probed")
    container_id = inspect(one, "hc-live")["Id"]
    one.stop()

    def running() -> set[str]:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        found = {_command(pid) for pid in pids if _is_in(pid, container_id)}
        return found - {""}  # what is dead has no command

    wait_until(lambda: running() == {"sleep 1000"}, "the container is alone")
    one.start()
    wait_until(is_probed, "it is probed again")
    assert health(one, "hc-live") == {"Status": "starting", "FailingStreak": 0, "Log": []}


def test_a_probe_of_a_killed_engine_is_killed_by_the_next(fresh_daemon: Daemon) -> None:
    """With all that it started; execs of clients are left alone."""
    one = fresh_daemon
    command = "test -e /quiet || { sleep 781 & sleep 782; }"
    run(one, "hc-old", "--health-cmd", command, "--health-timeout", "100s")
    one.docker("exec", "-d", "hc-old", "sleep", "783")
    wait_until(
        lambda: {"sleep 781", "sleep 782", "sleep 783"} <= set(processes(one, "hc-old")),
        "it is being probed",
    )
    one.docker("exec", "hc-old", "touch", "/quiet")
    one.kill()
    one.start()
    wait_until(
        lambda: not {"sleep 781", "sleep 782"} & set(processes(one, "hc-old")),
        "the old probe is gone",
    )
    assert "sleep 783" in processes(one, "hc-old")
    wait_status(one, "hc-old", "healthy")
    wait_until(lambda: not list(one.exec_root.glob("io/probe.*")), "its folder is gone")


def test_an_unhealthy_container_is_restarted_by_its_policy(daemon: Daemon) -> None:
    """If its label says so, and its policy would; its exit code 0 is a failure then."""
    label = ("--label", "io.wharfinger.unhealthy=restart", "--health-retries", "1")
    # Healthy in its second run; not asked before it hears signals.
    check = ("--health-cmd", f"{UNTIL.format('/up')}; test -e /second", *PATIENT)
    script = "trap 'touch /second; exit 0' TERM; touch /up; while :; do sleep 0.1; done"
    command = ("busybox", "sh", "-c", script)
    for name, policy in (("hc-back", "on-failure:3"), ("hc-left", "no")):
        options = ("--name", name, "--restart", policy, *EVERY, *check, *label)
        daemon.docker("run", "-d", *options, *command)
    wait_until(lambda: health(daemon, "hc-back")["Status"] == "healthy", "it is well")
    found = inspect(daemon, "hc-back")
    assert (found["RestartCount"], found["State"]["Running"]) == (1, True)
    told = [a for a in actions(daemon, "hc-back") if not a.startswith("exec_")]
    assert told[-6:] == [
        "start", "health_status: unhealthy", "kill", "die", "start", "health_status: healthy",
    ]  # fmt: skip
    wait_status(daemon, "hc-left", "unhealthy")
    assert inspect(daemon, "hc-left")["State"]["Running"]
    # A stop by hand is a stop, label or not.
    daemon.docker("stop", "-t0", "hc-back")
    assert inspect(daemon, "hc-back")["State"]["Status"] == "exited"


def _is_in(pid: int, container_id: str) -> bool:
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
