"""What no decent client sends: dockerd's status and words, nothing changed, nothing leaked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.http import send_raw

pytestmark = [pytest.mark.engine, pytest.mark.clients]

JSON = {"Content-Type": "application/json"}
CREATE = "/containers/create"


@pytest.fixture(scope="module")
def made(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The daemon with `still` (created) and `runs` (running)."""
    for name in ("still", "runs"):
        command = ("--name", name, "--network", "none", "busybox", "sleep", "1000")
        shared_daemon.docker("create", *command)
    shared_daemon.docker("start", "runs")
    yield shared_daemon
    shared_daemon.remove_containers()


@pytest.fixture
def pair(made: Daemon) -> Iterator[Daemon]:
    """The same; after the test they must be as before, and the log without a traceback."""
    before, since = snapshot(made), made.log_file.stat().st_size
    yield made
    assert snapshot(made) == before
    assert "Traceback" not in made.log_text(since=since)


def snapshot(daemon: Daemon) -> list[Any]:
    """The containers without what a clock changes."""
    containers = daemon.http("GET", "/containers/json?all=1").json()
    return [{k: v for k, v in one.items() if k != "Status"} for one in containers]


def body_of(**changes: object) -> dict[str, object]:
    """A create request that would succeed, but for the changes."""
    return {"Image": "busybox", "Cmd": ["true"], **changes}


def host_of(**changes: object) -> dict[str, object]:
    """As `body_of`, with the changes in HostConfig."""
    return body_of(HostConfig=changes)


MALFORMED = [
    (b"{", "invalid JSON: unexpected EOF"),
    (b"", "config cannot be empty in order to create a container"),
    (b"null", "config cannot be empty in order to create a container"),
    (b"{}", "config cannot be empty in order to create a container"),
    (b"[]", "cannot unmarshal array into Go value"),
    (b'"x"', "cannot unmarshal string into Go value"),
    (b'{"Image":"busybox"} {}', "unexpected content after JSON"),
    (b'{"Image":5}', "cannot unmarshal number into Go struct field"),
    (b'{"Image":"busybox","Env":"A=1"}', "Env of type []string"),
    (b'{"Image":"busybox","Tty":"yes"}', "Tty of type bool"),
    (b'{"Image":"busybox","HostConfig":{"Memory":"1g"}}', "HostConfig.Memory of type int64"),
    (b'{"Image":"busybox","Labels":["a"]}', "Labels of type map[string]string"),
    (b'{"Image":"busybox","Cmd":["a"' + b"," * 10, "invalid JSON: invalid character"),
    (b"[" * 100_000, "invalid JSON: "),
    (b'{"Image":"\xff"', "invalid JSON: "),
]


@pytest.mark.parametrize(("body", "words"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_bodies(pair: Daemon, body: bytes, words: str) -> None:
    """400 with Go's words for what stands where."""
    answer = pair.http("POST", CREATE, body, JSON)
    assert (answer.status, words in answer.message) == (400, True), answer


REFUSED = [
    ("", body_of(Image="nosuch"), 404, "No such image: nosuch:latest"),
    ("", body_of(Image="UPPER"), 400, "must be lowercase"),
    ("", body_of(Image="a b"), 400, "invalid reference format"),
    ("", body_of(Cmd=[], Entrypoint=[""]), 400, "no command specified"),
    ("", body_of(WorkingDir="rel"), 400, "working directory 'rel' is invalid"),
    ("", body_of(StopSignal="SIGNOPE"), 400, "invalid signal: SIGNOPE"),
    ("", body_of(Env=["=x"]), 400, "invalid environment variable: =x"),
    ("", host_of(Memory=1), 400, "Minimum memory limit allowed is 6MB"),
    ("", host_of(RestartPolicy={"Name": "x"}), 400, "invalid restart policy: unknown policy 'x'"),
    ("", host_of(Binds=["/a:rel"]), 400, "mount path must be absolute"),
    ("", host_of(Binds=["/tmp:/"]), 400, "destination can't be '/'"),
    ("", host_of(CapAdd=["NOPE"]), 400, "invalid CapAdd: unknown capability: "),
    ("", host_of(OomScoreAdj=5000), 400, "range for oom score adj is [-1000, 1000]"),
    ("", host_of(Runtime="nope"), 400, "unknown or invalid runtime name: nope"),
    ("", host_of(PidMode="bogus"), 400, "invalid PID mode: bogus"),
    ("?name=a%20b", body_of(), 400, "Invalid container name (a b), only [a-zA-Z0-9]"),
    ("?name=-x", body_of(), 400, "Invalid container name (-x)"),
    ("?name=x", body_of(), 400, "Invalid container name (x)"),
    ("?name=../../etc/x", body_of(), 400, "Invalid container name (../../etc/x)"),
    ("?name=still", body_of(), 409, 'The container name "/still" is already in use by container'),
    ("?name=/still", body_of(), 409, 'The container name "/still" is already in use by container'),
    ("?name=%zz", body_of(), 400, "invalid URL escape"),
]


@pytest.mark.parametrize(
    ("query", "body", "status", "words"), REFUSED, ids=[entry[3][:40] for entry in REFUSED]
)
def test_refused_settings(
    pair: Daemon, query: str, body: dict[str, object], status: int, words: str
) -> None:
    """Nothing is made of a request that cannot be met."""
    answer = pair.http("POST", CREATE + query, body)
    assert (answer.status, words in answer.message) == (status, True), answer


OPERATIONS = [
    ("GET", "/json", None),
    ("POST", "/start", None),
    ("POST", "/stop", None),
    ("POST", "/restart", None),
    ("POST", "/kill", None),
    ("POST", "/wait", None),
    ("POST", "/attach?stdout=1&stream=1", None),
    ("GET", "/logs?stdout=1", None),
    ("POST", "/rename?name=other", None),
    ("POST", "/pause", None),
    ("POST", "/unpause", None),
    ("POST", "/resize?h=1&w=1", None),
    ("GET", "/top", None),
    ("DELETE", "", None),
    ("POST", "/exec", {"Cmd": ["a"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS, ids=lambda value: str(value))
@pytest.mark.parametrize("ref", ["nosuch", "..", "%2e%2e", "%00", "a%2f..%2fb", "%20", "%ff"])
def test_unknown_containers(pair: Daemon, method: str, path: str, body: object, ref: str) -> None:
    """404, whatever stands where the name should; a path that leads elsewhere is not followed."""
    answer = pair.http(method, f"/containers/{ref}{path}", body)
    assert answer.status in ({404} if ref == "nosuch" else {301, 400, 404, 405}), answer
    if ref == "nosuch":
        assert answer.message.endswith("No such container: nosuch")


def test_an_ambiguous_id(pair: Daemon) -> None:
    """A prefix of two ids names neither of them."""
    ids = pair.container_ids()
    while len({container_id[0] for container_id in ids}) == len(ids):  # at most 17 in all
        made = pair.http("POST", CREATE, body_of(HostConfig={"NetworkMode": "none"})).json()["Id"]
        ids.append(made)
    initials = [container_id[0] for container_id in ids]
    shared = next(initial for initial in initials if initials.count(initial) > 1)
    answer = pair.http("GET", f"/containers/{shared}/json")
    for container_id in ids[2:]:
        pair.http("DELETE", f"/containers/{container_id}")
    assert answer.status == 400
    assert f"multiple IDs found with provided prefix: {shared}" in answer.message.lower().replace(
        "ids", "IDs"
    )


STATES = [
    ("POST", "/containers/still/kill", 409, "cannot kill container: still: container "),
    ("POST", "/containers/runs/kill?signal=NOPE", 400, "invalid signal: NOPE"),
    ("POST", "/containers/runs/stop?t=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
    ("POST", "/containers/still/pause", 409, " is not running"),
    ("POST", "/containers/runs/unpause", 409, " is not paused"),
    ("POST", "/containers/still/rename", 400, "Neither old nor new names may be empty"),
    ("POST", "/containers/still/rename?name=runs", 409, 'name "/runs" is already in use'),
    ("POST", "/containers/still/rename?name=still", 400, "same name as its current name"),
    ("POST", "/containers/still/resize?h=1&w=1", 409, " is not running"),
    ("POST", "/containers/runs/resize?h=x&w=1", 400, "invalid syntax"),
    ("GET", "/containers/still/top", 409, " is not running"),
    ("GET", "/containers/runs/top?ps_args=-o%20args", 400, "couldn't find PID field in ps output"),
    ("GET", "/containers/runs/logs", 400, "you must choose at least one stream"),
    ("GET", "/containers/runs/logs?stdout=1&since=x", 400, 'invalid value for "since"'),
    ("DELETE", "/containers/runs", 409, 'cannot remove container "/runs": container is running'),
    ("POST", "/containers/runs/wait?condition=bogus", 400, 'invalid condition: "bogus"'),
    ("POST", "/containers/runs/attach?detachKeys=bogus", 400, "Invalid detach keys (bogus)"),
    ("GET", "/containers/json?filters=x", 400, "invalid filter"),
    ("GET", "/containers/json?filters=%7B%22bogus%22%3A%5B%22x%22%5D%7D", 400, "invalid filter"),
    ("GET", "/containers/json?limit=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
    ("GET", "/images/nosuch/json", 404, "No such image: nosuch:latest"),
    ("DELETE", "/images/nosuch", 404, "No such image: nosuch:latest"),
    ("DELETE", "/images/busybox", 409, "conflict: unable to delete busybox:latest"),
    ("GET", "/exec/nosuch/json", 404, "No such exec instance: nosuch"),
    ("GET", "/events?since=x", 400, 'invalid value for "since"'),
    ("GET", "/nosuch", 404, "page not found"),
    ("GET", "/v1.99/version", 400, "client version 1.99 is too new"),
    ("GET", "/v1.11/version", 400, "client version 1.11 is too old"),
    ("GET", "/vx/version", 404, "page not found"),
    ("PUT", "/containers/json", 404, "page not found"),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    STATES,
    ids=[f"{entry[0]} {entry[1]}" for entry in STATES],
)
def test_refused_operations(pair: Daemon, method: str, path: str, status: int, words: str) -> None:
    """The state, the name or the query forbids it: said so, and nothing done."""
    answer = pair.http(method, path)
    assert (answer.status, words in answer.message) == (status, True), answer


def test_an_upload_that_is_no_archive(pair: Daemon) -> None:
    """load has answered its head by then: the error is in the stream."""
    for data, words in ((b"garbage", "invalid tar"), (b"", "unrecognized image format")):
        answer = pair.http("POST", "/images/load", data, {"Content-Type": "application/x-tar"})
        assert answer.status == 200
        assert words in answer.json_lines()[-1]["error"]
    assert len(pair.http("GET", "/images/json").json()) == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {400, 414, 431}),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_000_000 + b"\r\n\r\n", {400, 431}),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300_000 + b"\r\n", {400, 431}),
        (b"nonsense\r\n\r\n", {400}),
        (b"GET /_ping HTTP/9.9\r\n\r\n", {400, 505}),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
    ],
    ids=["target", "header", "headers", "nonsense", "version", "length"],
)
def test_heads_that_are_too_much(pair: Daemon, head: bytes, status: set[int]) -> None:
    """Refused by what has been read so far; the daemon answers the next one."""
    answer = send_raw(pair.socket, head)
    assert int(answer.split(b" ", 2)[1]) in status
    assert pair.http("GET", "/_ping").body == b"OK"


def test_a_body_that_is_too_long(pair: Daemon) -> None:
    """A JSON body has a limit, and memory is not filled up to find out."""
    before_kb = pair.memory_kb("VmHWM")
    body = b'{"Image":"' + b"a" * (64 * 1024 * 1024) + b'"}'
    try:
        answer = pair.http("POST", CREATE, body, JSON)
    except OSError:  # it closed while we still sent
        pass
    else:
        assert answer.status == 400
    assert pair.memory_kb("VmHWM") - before_kb < 60 * 1024


def test_errors_are_json_and_bare(pair: Daemon) -> None:
    """One member, the message: no traceback, no path of the engine's own code."""
    answer = pair.http("GET", "/containers/nosuch/json")
    assert json.loads(answer.body) == {"message": "No such container: nosuch"}
    assert answer.headers["content-type"] == "application/json"
