"""The engine watched from outside: by its API, on a terminal, by Prometheus; parts that crash."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.many import COUNTER, facts, run
from tests.services.metrics.support import parse
from tests.support.crashable import CrashableDaemon, crashable_daemon
from tests.support.daemon import ROOT, wait_until
from tests.support.http import begun
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine]

V1 = "/wharfinger/v1"
HEADER = {"X-Wharfinger": "test"}


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """Of the metrics and of the observer."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
def daemon(ports: tuple[int, int]) -> Iterator[CrashableDaemon]:
    """One with a container that counts, and all that can be seen of it, for all of this module."""
    metrics, observer = ports
    flags = ("--metrics-addr", f"127.0.0.1:{metrics}", "--observer-addr", f"127.0.0.1:{observer}")
    with crashable_daemon(*flags) as crashable:
        run(crashable, "one", COUNTER)
        yield crashable


def get(daemon: CrashableDaemon, path: str) -> Any:
    answer = daemon.http("GET", V1 + path)
    assert answer.status == 200, answer
    return answer.json()


def parts(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {part["path"]: part}
    for child in part["children"]:
        found |= parts(child)
    return found


def command(daemon: CrashableDaemon, *args: str) -> subprocess.CompletedProcess[str]:
    """`python -m supervisor WORD ...`, with nothing but DOCKER_HOST to go by."""
    return subprocess.run(
        [sys.executable, "-m", "supervisor", *args],
        cwd=ROOT,
        env=os.environ | {"DOCKER_HOST": daemon.host},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


# ── the API ──────────────────────────────────────────────────────────────────────────────────────


def test_the_tree_and_its_containers(daemon: CrashableDaemon) -> None:
    """Every part, with the container under its name."""
    one = facts(daemon, "one").id
    shown = parts(get(daemon, "/tree"))
    assert {"root/store/database", "root/reports/history", "root/faces/observer"} <= shown.keys()
    container = shown[f"root/engine/containers/running/{one}"]
    assert container["container"]["name"] == "one"
    assert container["children"] == []
    below = parts(get(daemon, f"/parts/{container['path']}"))
    assert {path.rpartition("/")[2] for path in below} >= {"pump", "task", "execs"}


def test_a_crash_is_streamed_and_kept(daemon: CrashableDaemon) -> None:
    """The stream tells of it and of the recovery; the part has it as its last crash, with where."""
    path = "root/engine/volumes"
    before = get(daemon, f"/parts/{path}")
    with begun(daemon.socket, "GET", f"{V1}/reports") as stream:
        assert stream.getheader("Content-Type") == "text/event-stream"
        hello = read_event(stream)
        assert hello["event"] == "hello"
        daemon.crash(path)
        ended, ready = read_event(stream, path), read_event(stream, path)
    assert (ended["data"]["kind"], ended["data"]["path"]) == ("child_terminated", path)
    assert ended["data"]["error"] == "Injected: thrown by a test"
    restarts = before.get("restarts", 0) + 1
    assert (ready["data"]["kind"], ready["data"]["restarts"]) == ("progress", restarts)
    part = get(daemon, f"/parts/{path}")
    assert (part["crashes"], part["restarts"]) == (before.get("crashes", 0) + 1, restarts)
    assert part["state"] == "running"
    assert "Injected" in part["last_crash"]["traceback"]
    assert path in [crash["path"] for crash in get(daemon, "/crashes")]
    # A reader that comes back hears what it has missed.
    with begun_after(daemon, hello["id"]) as stream:
        again = read_event(stream, path)
    assert again == ended


@contextmanager
def begun_after(daemon: CrashableDaemon, last_id: str) -> Iterator[Any]:
    """The stream, taken up again."""
    with begun(daemon.socket, "GET", f"{V1}/reports?after={last_id}") as stream:
        yield stream


def read_event(stream: Any, path: str = "") -> dict[str, Any]:
    """The next server-sent event; with `path`, the next one about that part."""
    while True:
        event = _read_event(stream)
        if not path or event["data"]["path"] == path:
            return event


def _read_event(stream: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while True:
        line = stream.readline().decode().rstrip("\n")
        if not line and "data" in fields:
            return fields | {"data": json.loads(fields["data"])}
        name, _, value = line.partition(": ")
        if name in ("event", "id", "data"):
            fields[name] = value


def test_restarts_by_hand_cost_nothing(daemon: CrashableDaemon) -> None:
    """Of each part that may be restarted, and of a container's: nothing is lost, nothing stops."""
    one = facts(daemon, "one")
    with daemon.docker_process("logs", "-f", "--tail", "0", "one") as logs:
        assert logs.stdout is not None
        logs.stdout.readline()
        shown = parts(get(daemon, "/tree?depth=20"))
        chosen = [path for path, part in shown.items() if part.get("can_restart")]
        assert len(chosen) > 15
        for path in chosen:
            answer = daemon.http("POST", f"{V1}/parts/{path}/restart", headers=HEADER)
            assert answer.status == 200, (path, answer)
            assert answer.json()["state"] == "running"
        daemon.docker("rename", "one", "uno")
        daemon.docker("rename", "uno", "one")
        logs.terminate()
        seen = [int(line) for line in logs.communicate()[0].split()]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert facts(daemon, "one") == one
    shown = parts(get(daemon, "/tree?depth=20"))
    assert all(shown[path]["restarts"] >= 1 for path in chosen)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "sentence"),
    [
        ("GET", "/parts/root/x", {}, 404, "No such part: root/x"),
        ("POST", "/parts/root/x/restart", HEADER, 404, "No such part: root/x"),
        ("POST", "/parts/root/engine/restart", HEADER, 409, "other parts are below it"),
        ("POST", "/parts/root/engine/images/restart", {}, 403, "needs the field X-Wharfinger"),
        ("GET", "/tree", {"Origin": "http://evil.example"}, 403, "pages of other sites"),
        ("GET", "/tree?depth=x", {}, 400, "depth must be a number from 0 to 20"),
        ("GET", "/reports?after=x", {}, 400, "not the id of a report"),
        ("GET", "/containers/none/logs", {}, 404, "No such container: none"),
        ("GET", "/x", {}, 404, "page not found"),
        ("DELETE", "/tree", HEADER, 404, "page not found"),
    ],
)
def test_refusals(
    daemon: CrashableDaemon,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    """One clear sentence."""
    answer = daemon.http(method, V1 + path, headers=headers)
    assert answer.status == status
    assert sentence in answer.message


def test_a_container_is_followed(daemon: CrashableDaemon) -> None:
    """Its log line by line, and what it uses."""
    with begun(daemon.socket, "GET", f"{V1}/containers/one/logs?tail=3") as stream:
        event = read_event(stream)
        lines = event["data"]
        while len(lines) < 5:
            lines += read_event(stream)["data"]
    numbers = [int(text.split()[1]) for _, text in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {kind for kind, _ in lines} == {"stdout"}
    with begun(daemon.socket, "GET", f"{V1}/containers/one/usage") as stream:
        usage = read_event(stream)["data"]
    assert usage["memory_bytes"] > 0
    assert usage["pids"] >= 1


def test_tasks_and_lag(daemon: CrashableDaemon) -> None:
    """What the loop does."""
    tasks = get(daemon, "/tasks?part=root/engine")["tasks"]
    assert {"root/engine/images", "root/engine/keeper"} <= {task["part"] for task in tasks}
    assert all(
        task["at"].startswith(("services/", "supervisor/")) or task["stack"] for task in tasks
    )
    lag = get(daemon, "/lag")
    assert sum(lag["counts"]) > 0


def test_its_own_address_has_nothing_else(daemon: CrashableDaemon, ports: tuple[int, int]) -> None:
    """The page and the observer's API; not the engine's."""
    base = f"http://127.0.0.1:{ports[1]}"
    with urllib.request.urlopen(f"{base}/wharfinger/v1/tree", timeout=60) as answer:
        assert json.load(answer)["path"] == "root"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{base}/containers/json", timeout=60)
    request = urllib.request.Request(f"{base}/wharfinger/v1/tree", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=60)


# ── the terminal ─────────────────────────────────────────────────────────────────────────────────


def test_the_commands(daemon: CrashableDaemon) -> None:
    """Tree, crashes, restart and tasks, as text where there is no terminal."""
    tree = command(daemon, "tree")
    assert (tree.returncode, tree.stderr) == (0, "")
    assert re.search(r"── one  running \w+  [0-9a-f]{12} busybox", tree.stdout)
    assert "\x1b" not in tree.stdout
    daemon.crash("root/engine/images")
    crashes = command(daemon, "crashes", "--tracebacks", "--last", "1")
    assert "root/engine/images: Injected: thrown by a test" in crashes.stdout
    assert "Traceback (most recent call last)" in crashes.stdout
    restart = command(daemon, "restart", "one")
    assert (restart.returncode, restart.stderr) == (0, "")
    assert restart.stdout.endswith("was restarted and is running\n")
    refused = command(daemon, "restart", "listeners")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "clients would be refused" in refused.stderr
    tasks = command(daemon, "tasks", "--part", "one")
    assert "pump" in tasks.stdout
    assert json.loads(command(daemon, "tree", "--json").stdout)["path"] == "root"


def test_the_tree_is_watched_on_a_terminal(daemon: CrashableDaemon) -> None:
    """A crash and the recovery are drawn while it runs; an interrupt ends it."""
    from tests.support.terminal import on_terminal

    argv = [sys.executable, "-m", "supervisor", "tree", "--watch", "engine"]
    environment = os.environ | {"DOCKER_HOST": daemon.host, "TERM": "xterm"}
    with on_terminal(argv, environment, rows=40, columns=120) as terminal:
        terminal.expect("images")
        daemon.crash("root/engine/images")
        terminal.expect("Injected: thrown by a test")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_without_a_terminal_reports_are_printed(daemon: CrashableDaemon) -> None:
    """One a line, for a pipe."""

    def streams() -> int:
        return str(get(daemon, "/tasks")).count("_send_until_drain")

    wait_until(lambda: streams() == 0, "the streams of other tests have ended")
    argv = [sys.executable, "-m", "supervisor", "tree", "--watch"]
    environment = os.environ | {"DOCKER_HOST": daemon.host, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        try:
            wait_until(lambda: streams() > 0, "it listens")
            daemon.crash("root/engine/images")
            line = ""
            while "child terminated root/engine/images: Injected" not in line:
                line = watching.stdout.readline().decode()
                assert line, "it has ended"
        finally:
            watching.kill()


# ── Prometheus ───────────────────────────────────────────────────────────────────────────────────


def scrape(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        body: bytes = answer.read()
        return body


def test_what_happens_is_counted(daemon: CrashableDaemon, ports: tuple[int, int]) -> None:
    """Answers by operation, calls to containerd, starts, checks of health, builds and pulls."""

    def counted(name: str, /, **labels: str) -> float:
        wanted = frozenset(labels.items())
        found = parse(scrape(ports[0]).decode())
        return sum(value for (n, have), value in found.items() if n == name and wanted <= have)

    def answers(operation: str, code: str) -> float:
        return counted("wharfinger_api_answers_total", operation=operation, code=code)

    def refused() -> tuple[float, float]:
        return answers("GET /containers/{ref}/json", "404"), answers("_unknown", "404")

    before = refused()
    daemon.http("GET", "/v1.44/containers/none/json")
    daemon.http("GET", "/no/such/page")
    # Scrapes within half a second share what they see.
    wait_until(lambda: refused() == (before[0] + 1, before[1] + 1), "both are counted", pause_s=0.1)
    method = "/containerd.services.tasks.v1.Tasks/Create"
    assert counted("wharfinger_containerd_call_duration_seconds_count", method=method) >= 1
    assert counted("engine_daemon_container_actions_seconds_count", action="start") >= 1
    health = ("--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1")
    daemon.docker("run", "-d", "--name", "sick", *health, "busybox", "sleep", "60")
    wait_until(lambda: counted("engine_daemon_health_checks_failed_total") > 0, "it was probed")
    assert counted("wharfinger_container_healthy", name="sick") == 0
    daemon.docker("rm", "-f", "sick")
    daemon.docker("build", "-", stdin=b"FROM busybox\nRUN exit 3\n", code=None)
    reason = "error_processing_commands_error"
    daemon.docker("pull", "127.0.0.1:1/x", code=1)

    def pulls() -> float:
        return counted("wharfinger_registry_jobs_total", action="pull", result="failed")

    wait_until(lambda: pulls() == 1, "the pull is counted", pause_s=0.1)
    assert counted("builder_builds_failed_total", reason=reason) == 1
    assert counted("engine_daemon_container_actions_seconds_count", action="delete") >= 1
    assert counted("engine_daemon_network_actions_seconds_count", action="allocate") >= 1
    assert counted("engine_daemon_network_actions_seconds_count", action="release") >= 1
    asked = counted("engine_daemon_host_info_functions_seconds_count", function="system_info")
    daemon.docker("tag", "busybox", "tagged")
    daemon.docker("history", "tagged")
    daemon.docker("rmi", "tagged")
    daemon.docker("info")

    def images() -> list[float]:
        name = "engine_daemon_image_actions_seconds_count"
        return [counted(name, action=action) for action in ("history", "delete", "push")]

    wait_until(lambda: images() == [1, 1, 0], "images' actions are counted", pause_s=0.1)
    after = counted("engine_daemon_host_info_functions_seconds_count", function="system_info")
    assert after == asked + 1


def test_promtool_has_no_complaint(daemon: CrashableDaemon, ports: tuple[int, int]) -> None:
    """About what a working engine serves, on its address and on its socket."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool")
    on_socket = daemon.http("GET", f"{V1}/metrics")
    assert on_socket.headers["content-type"].startswith("text/plain; version=")
    for body in (scrape(ports[0]), on_socket.body):
        assert b'wharfinger_container_cpu_seconds_total{id="' in body
        done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_prometheus_scrapes_it(
    daemon: CrashableDaemon, ports: tuple[int, int], tmp_path: Path
) -> None:
    """Debian's, by the address; what was scraped can be asked for."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("needs prometheus")
    port = free_port()
    alerts = ROOT / "docs" / "prometheus" / "alerts.yml"
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nrule_files: ['{alerts}']\nscrape_configs:\n"
        f"- job_name: wharfinger\n  static_configs: [{{targets: ['127.0.0.1:{ports[0]}']}}]\n"
    )
    flags = (
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with subprocess.Popen([prometheus, *flags], stderr=subprocess.DEVNULL) as process:
        try:

            def value(query: str) -> float | None:
                url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
                try:
                    with urllib.request.urlopen(url, timeout=5) as answer:
                        result = json.load(answer)["data"]["result"]
                except OSError:
                    return None
                return float(result[0]["value"][1]) if result else None

            wait_until(lambda: value('up{job="wharfinger"}') == 1, "it is scraped", pause_s=0.1)
            running = value('engine_daemon_container_states_containers{state="running"}')
            assert running == 1
            memory = value('wharfinger_container_memory_working_set_bytes{name="one"}')
            assert memory is not None
            assert memory > 0
            parts_there = value("count(wharfinger_supervision_state_seconds)")
            assert parts_there is not None
            assert parts_there > 20
            assert value('wharfinger_loop_lag_seconds_bucket{le="+Inf"}')
        finally:
            process.terminate()
