"""What clients get wrong, or try on purpose: dockerd's status and words, and nothing changed.

Over raw HTTP. The texts are dockerd's; where versions of it differ, the newer one's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.support.daemon import Daemon
from tests.support.http import Answer, send_raw

pytestmark = [pytest.mark.engine, pytest.mark.clients]

JSON: Final = {"Content-Type": "application/json"}
CREATE: Final = "/containers/create"
BUSYBOX: Final = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}
NOT_FOUND: Final = "page not found"
BAD_NAME: Final = "Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
NO_JSON: Final = "invalid JSON: json: cannot unmarshal "
TOO_OLD: Final = (
    "client version {} is too old. Minimum supported API version is 1.24, "
    "please upgrade your client to a newer version"
)
TOO_NEW: Final = "client version {} is too new. Maximum supported API version is 1.56"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A daemon with containers that no bad request may touch."""

    daemon: Daemon
    created: str  # the id of one that never ran, named "still"
    running: str  # of one that runs, named "going"
    ambiguous: str  # with what two ids begin

    def answer(
        self, request: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The answer to "METHOD /path", which must tell nothing about our insides."""
        method, _, target = request.partition(" ")
        answer = self.daemon.http(method, target, body, headers)
        for secret in (b"Traceback", b".py", b"services.", str(self.daemon.folder).encode()):
            assert secret not in answer.body
        return answer

    def refusal(
        self, request: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and message; in the message the ids are "<created>" and "<running>"."""
        answer = self.answer(request, body, headers)
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"message"}
        text = answer.message
        for name in ("created", "running"):
            text = text.replace(getattr(self, name), f"<{name}>")
        return answer.status, text

    def state(self) -> Any:
        """What there is."""
        containers = self.daemon.http("GET", "/containers/json?all=1").json()
        images = self.daemon.http("GET", "/images/json").json()
        info = self.daemon.http("GET", "/info").json()
        return (
            sorted((one["Id"], one["Names"], one["State"]) for one in containers),
            sorted((one["Id"], one["RepoTags"]) for one in images),
            {name: number for name, number in info.items() if name.startswith("Containers")},
            info["Images"],
        )


@pytest.fixture(scope="module")
def stage(shared_daemon: Daemon) -> Iterator[Stage]:
    """One stage for all of the module; afterwards all on it is as it was, and the log is clean."""
    since = shared_daemon.log_file.stat().st_size
    shared_daemon.remove_containers()

    def create(name: str) -> str:
        answer = shared_daemon.http(
            "POST", f"{CREATE}?name={name}", {**BUSYBOX, "Cmd": ["sleep", "1000"]}
        )
        assert answer.status == 201, answer
        return str(answer.json()["Id"])

    created, running = create("still"), create("going")
    assert shared_daemon.http("POST", f"/containers/{running}/start").status == 204
    starts = {created[0], running[0]}
    ambiguous = created[0] if len(starts) == 1 else ""
    for number in range(16):  # at the latest then two of them begin alike
        if not ambiguous:
            start = create(f"more-{number}")[0]
            ambiguous = start if start in starts else ""
            starts.add(start)
    stage = Stage(daemon=shared_daemon, created=created, running=running, ambiguous=ambiguous)
    before = stage.state()
    yield stage
    assert stage.state() == before
    log = shared_daemon.log_text(since=since)
    shared_daemon.remove_containers()
    assert "Traceback" not in log, log
    assert "request failed" not in log, log


def raw(**fields: Any) -> dict[str, Any]:
    """A body that would be a good one but for `fields`."""
    return {**BUSYBOX, **fields}


def filters(**values: Any) -> str:
    """A `filters` parameter."""
    text = json.dumps({name.replace("_", "-"): value for name, value in values.items()})
    return "filters=" + "".join(f"%{byte:02x}" for byte in text.encode())


def case_id(value: object) -> str:
    """A short name for a case."""
    return value[:60] if isinstance(value, str) else ""


# ── bodies ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "invalid JSON: unexpected EOF"),
        (b"{]", "invalid JSON: invalid character ']' looking for beginning of object key string"),
        (b"\xff\xfe", "invalid JSON: invalid character 'ÿ' looking for beginning of value"),
        (b" \n", "invalid JSON: got EOF while reading request body"),
        (b"[" * 100_000, "invalid JSON: invalid character '[' exceeded max depth"),
        (b'{"Image":"busybox"} x', "unexpected content after JSON"),
        (b'{"Image":"busybox"}{}', "unexpected content after JSON"),
        (b"[]", NO_JSON + "array into Go value of type CreateBody"),
        (b'"x"', NO_JSON + "string into Go value of type CreateBody"),
        (b"5", NO_JSON + "number into Go value of type CreateBody"),
        (b"null", "config cannot be empty in order to create a container"),
        (b"{}", "config cannot be empty in order to create a container"),
        (b"", "config cannot be empty in order to create a container"),
    ],
    ids=case_id,
)
def test_bodies_that_are_no_settings(stage: Stage, body: bytes, message: str) -> None:
    """What is no JSON, no object, or nothing."""
    assert stage.refusal(f"POST {CREATE}", body, JSON) == (400, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Image": 5}, "number into Go struct field CreateBody.Image of type string"),
        ({"Cmd": {}}, "object into Go struct field CreateBody.Cmd of type []string"),
        ({"Cmd": [5]}, "number into Go struct field CreateBody.Cmd of type string"),
        ({"Env": "A=b"}, "string into Go struct field CreateBody.Env of type []string"),
        ({"Tty": "yes"}, "string into Go struct field CreateBody.Tty of type bool"),
        ({"Tty": 1}, "number into Go struct field CreateBody.Tty of type bool"),
        (
            {"Labels": ["a"]},
            "array into Go struct field CreateBody.Labels of type map[string]string",
        ),
        ({"HostConfig": []}, "array into Go struct field CreateBody.HostConfig of type HostConfig"),
        (
            {"HostConfig": {"Memory": "1g"}},
            "string into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            {"HostConfig": {"Memory": 1.5}},
            "number 1.5 into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            {"HostConfig": {"Memory": 1e99}},
            "number 1e99 into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            {"HostConfig": {"Memory": 2**63}},
            f"number {2**63} into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
    ],
    ids=str,
)
def test_values_of_the_wrong_type(stage: Stage, fields: dict[str, Any], message: str) -> None:
    """Go's words for what stands there and what should."""
    assert stage.refusal(f"POST {CREATE}", raw(**fields)) == (400, NO_JSON + message)


@pytest.mark.parametrize("value", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type(stage: Stage, value: str) -> None:
    """A body has to call itself JSON."""
    headers = {"Content-Type": value} if value else {}
    for request in (f"POST {CREATE}", "POST /containers/going/exec"):
        assert stage.refusal(request, json.dumps(BUSYBOX).encode(), headers) == (
            400,
            f"unsupported Content-Type header ({value}): must be 'application/json'",
        )


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"Image": "nosuch"}, 404, "No such image: nosuch:latest"),
        ({"Image": "nosuch:tag"}, 404, "No such image: nosuch:tag"),
        ({"Image": "sha256:" + "0" * 64}, 404, "No such image: sha256:" + "0" * 64),
        ({"Image": "a b"}, 400, "invalid reference format"),
        ({"Image": "x@sha256:abc"}, 400, "invalid reference format"),
        ({"Image": "x" * 300}, 400, "repository name must not be more than 255 characters"),
        (
            {"Image": "UPPER"},
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
    ],
    ids=str,
)
def test_images_that_are_not_here(
    stage: Stage, fields: dict[str, Any], status: int, message: str
) -> None:
    """Missing is 404, malformed 400."""
    assert stage.refusal(f"POST {CREATE}", raw(**fields)) == (status, message)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("name=a%20b", 400, BAD_NAME.format("a b")),
        ("name=-x", 400, BAD_NAME.format("-x")),
        ("name=x", 400, BAD_NAME.format("x")),
        ("name=a%2Fb", 400, BAD_NAME.format("a/b")),
        ("name=..", 400, BAD_NAME.format("..")),
        ("name=%00", 400, BAD_NAME.format("\0")),
        ("name=ok%0a", 400, BAD_NAME.format("ok\n")),
        ("name=a%zz", 400, 'invalid URL escape "%zz"'),
        ("name=a;b", 400, "invalid semicolon separator in query"),
        (
            "name=still",
            409,
            'Conflict. The container name "/still" is already in use by container "<created>".'
            " You have to remove (or rename) that container to be able to reuse that name.",
        ),
    ],
)
def test_names_that_cannot_be_had(stage: Stage, query: str, status: int, message: str) -> None:
    """Invalid ones, and one that is in use."""
    assert stage.refusal(f"POST {CREATE}?{query}", BUSYBOX) == (status, message)


# ── references ───────────────────────────────────────────────────────────────────────────────

ON_A_CONTAINER = [
    "GET /containers/{}/json",
    "GET /containers/{}/logs?stdout=1",
    "GET /containers/{}/top",
    "POST /containers/{}/start",
    "POST /containers/{}/stop",
    "POST /containers/{}/restart",
    "POST /containers/{}/pause",
    "POST /containers/{}/unpause",
    "POST /containers/{}/wait",
    "POST /containers/{}/attach",
    "POST /containers/{}/rename?name=other",
    "POST /containers/{}/resize?h=1&w=1",
    "POST /containers/{}/exec",
    "DELETE /containers/{}",
]


@pytest.mark.parametrize("request_", ON_A_CONTAINER)
def test_unknown_and_ambiguous_containers(stage: Stage, request_: str) -> None:
    """404 for what nobody is called, 400 for what several are."""
    body = {"Cmd": ["true"]} if request_.endswith("exec") else None
    for ref, shown in (("nosuch", "nosuch"), ("f" * 64, "f" * 64), ("a%2fb", "a/b")):
        expected = (404, f"No such container: {shown}")
        assert stage.refusal(request_.format(ref), body) == expected
    assert stage.refusal(request_.format(stage.ambiguous), body) == (
        400,
        f"multiple IDs found with provided prefix: {stage.ambiguous}",
    )


@pytest.mark.parametrize(
    ("request_", "body", "status", "message"),
    [
        ("POST /containers/nosuch/kill", None, 404,
         "cannot kill container: nosuch: No such container: nosuch"),
        ("GET /containers/nosuch/logs", None, 400,
         "Bad parameters: you must choose at least one stream"),
        ("GET /exec/nosuch/json", None, 404, "No such exec instance: nosuch"),
        ("POST /exec/nosuch/start", {}, 404, "No such exec instance: nosuch"),
        ("POST /exec/nosuch/resize?h=1&w=1", None, 404, "No such exec instance: nosuch"),
        ("GET /images/nosuch/json", None, 404, "No such image: nosuch:latest"),
        ("GET /images/nosuch/history", None, 404, "No such image: nosuch:latest"),
        ("DELETE /images/nosuch", None, 404, "No such image: nosuch:latest"),
        ("POST /images/nosuch/tag?repo=x&tag=y", None, 404, "No such image: nosuch:latest"),
        ("GET /networks/nosuch", None, 404, "network nosuch not found"),
        ("GET /volumes/nosuch", None, 404, "get nosuch: no such volume"),
    ],
    ids=case_id,
)  # fmt: skip
def test_other_things_that_are_not_here(
    stage: Stage, request_: str, body: object, status: int, message: str
) -> None:
    """Each kind has its words."""
    assert stage.refusal(request_, body) == (status, message)


# ── parameters ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("POST /containers/going/stop?t=abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("POST /containers/going/stop?t=1.5", 'strconv.Atoi: parsing "1.5": invalid syntax'),
        ("POST /containers/going/restart?t=1x", 'strconv.Atoi: parsing "1x": invalid syntax'),
        ("POST /containers/going/stop?signal=BOGUS", "invalid signal: BOGUS"),
        ("POST /containers/going/kill?signal=BOGUS", "invalid signal: BOGUS"),
        ("POST /containers/going/kill?signal=0", "invalid signal: 0"),
        ("POST /containers/going/kill?signal=99", "invalid signal: 99"),
        ("POST /containers/going/kill?signal=-1", "invalid signal: -1"),
        ("POST /containers/going/resize?h=a&w=1", 'invalid resize height "a": invalid syntax'),
        ("POST /containers/going/resize?w=1", 'invalid resize height "": invalid syntax'),
        ("POST /containers/going/resize?h=1&w=+2", 'invalid resize width " 2": invalid syntax'),
        ("POST /containers/going/resize?h=-1&w=1",
         'invalid resize height "-1": value out of range'),
        ("POST /containers/going/resize?h=1&w=4294967296",
         'invalid resize width "4294967296": value out of range'),
        ("POST /exec/nosuch/resize?h=x&w=1", 'invalid resize height "x": invalid syntax'),
        ("POST /containers/still/wait?condition=bogus", 'invalid condition: "bogus"'),
        ("POST /containers/going/attach?stdout=1&detachKeys=bogus",
         "Invalid detach keys (bogus) provided"),
        ("POST /containers/still/rename", "Neither old nor new names may be empty"),
        ("POST /containers/still/rename?name=still",
         "Renaming a container with the same name as its current name"),
        ("POST /containers/still/rename?name=a%20b",
         "Error when allocating new name: " + BAD_NAME.format("/a b")),
        ("GET /containers/going/logs", "Bad parameters: you must choose at least one stream"),
        ("GET /containers/going/logs?stdout=1&since=abc",
         'invalid value for "since": "abc" is not a Unix time stamp'),
        ("GET /containers/going/logs?stdout=1&until=1.x",
         'invalid value for "until": "1.x" is not a Unix time stamp'),
        ("GET /events?since=abc", 'invalid value for "since": "abc" is not a Unix time stamp'),
        ("GET /events?since=20&until=10",
         "`since` time (20) cannot be after `until` time (10)"),
        ("GET /containers/json?limit=abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("GET /containers/json?all=1&x=%zz", 'invalid URL escape "%zz"'),
        ("GET /containers/json?a;b", "invalid semicolon separator in query"),
        ("POST /images/busybox/tag", "invalid reference format"),
        ("POST /images/busybox/tag?repo=x&tag=a%20b", "invalid reference format"),
        ("POST /images/busybox/tag?repo=UP",
         "invalid reference format: repository name (library/UP) must be lowercase"),
        ("GET /images/UPPER/json",
         "invalid reference format: repository name (library/UPPER) must be lowercase"),
    ],
)  # fmt: skip
def test_parameters_with_bad_values(stage: Stage, request_: str, message: str) -> None:
    """400, and the value is named."""
    assert stage.refusal(request_) == (400, message)


@pytest.mark.parametrize(
    "path", ["/containers/json", "/images/json", "/networks", "/events", "/volumes", "/plugins"]
)
@pytest.mark.parametrize(
    "text", ["x", "[]", "5", '{"name":"x"}', '{"name":[5]}', '{"name":{"a":1}}']
)
def test_filters_that_are_none(stage: Stage, path: str, text: str) -> None:
    """`filters` has to be a map of lists or of sets."""
    escaped = "".join(f"%{byte:02x}" for byte in text.encode())
    assert stage.refusal(f"GET {path}?until=1&filters={escaped}") == (400, "invalid filter")


@pytest.mark.parametrize(
    ("path", "query", "status", "message"),
    [
        ("/containers/json", filters(nosuch=["a"]), 400, "invalid filter 'nosuch'"),
        ("/containers/json", filters(status=["bogus"]), 400,
         'invalid value for filter "status": invalid value "bogus"'),
        ("/containers/json", filters(exited=["x"]), 400,
         'strconv.Atoi: parsing "x": invalid syntax'),
        ("/containers/json", filters(is_task=["x"]), 400, "invalid filter 'is-task=[x]'"),
        ("/containers/json", filters(health=["x"]), 400, "unrecognized filter value for health: x"),
        ("/containers/json", filters(before=["nosuch"]), 404, "No such container: nosuch"),
        ("/images/json", filters(nosuch=["a"]), 400, "invalid filter 'nosuch'"),
        ("/images/json", filters(dangling=["x"]), 400, "invalid filter 'dangling=[x]'"),
        ("/networks", filters(nosuch=["a"]), 400, "invalid filter 'nosuch'"),
    ],
)  # fmt: skip
def test_filters_with_bad_values(
    stage: Stage, path: str, query: str, status: int, message: str
) -> None:
    """Unknown filters, and values that a filter does not know."""
    assert stage.refusal(f"GET {path}?{query}") == (status, message)


# ── states ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "body", "status", "message"),
    [
        ("POST /containers/still/kill", None, 409,
         "cannot kill container: still: container <created> is not running"),
        ("POST /containers/still/pause", None, 409, "container <created> is not running"),
        ("POST /containers/going/unpause", None, 409, "container <running> is not paused"),
        ("GET /containers/still/top", None, 409, "container <created> is not running"),
        ("POST /containers/still/resize?h=1&w=1", None, 409, "container <created> is not running"),
        ("POST /containers/still/exec", {"Cmd": ["x"]}, 409, "container <created> is not running"),
        ("DELETE /containers/going", None, 409,
         'cannot remove container "/going": container is running: '
         "stop the container before removing or force remove"),
        ("POST /containers/still/rename?name=going", None, 409,
         'Error when allocating new name: Conflict. The container name "/going" is already in use '
         'by container "<running>". You have to remove (or rename) that container to be able to '
         "reuse that name."),
        ("POST /containers/going/exec", {}, 400, "No exec command specified"),
        ("POST /containers/going/exec", {"Cmd": []}, 400, "No exec command specified"),
        ("POST /containers/going/exec", {"Cmd": 5}, 400,
         NO_JSON + "number into Go struct field ExecConfig.Cmd of type []string"),
        ("POST /containers/going/exec", {"Cmd": ["x"], "DetachKeys": "bogus"}, 400,
         "Invalid detach keys (bogus) provided"),
    ],
)  # fmt: skip
def test_what_the_state_forbids(
    stage: Stage, request_: str, body: object, status: int, message: str
) -> None:
    """409 and the container's id, or why the settings are none."""
    assert stage.refusal(request_, body) == (status, message)


def test_what_is_so_already(stage: Stage) -> None:
    """Not an error, and no body."""
    for request in ("POST /containers/still/stop", "POST /containers/going/start"):
        answer = stage.answer(request)
        assert (answer.status, answer.body) == (304, b"")


def test_an_image_in_use(stage: Stage) -> None:
    """The image stays, and the message names a container that needs it."""
    status, message = stage.refusal("DELETE /images/busybox")
    assert status == 409
    assert message.startswith(
        "conflict: unable to delete busybox:latest (must be forced) - container "
    )


@pytest.mark.parametrize("body", [b"not a tar", b"", b"\0" * 10240, b"x" * 100_000])
def test_archives_that_are_none(stage: Stage, body: bytes) -> None:
    """A load that fails says so in its stream."""
    answer = stage.answer("POST /images/load", body, {"Content-Type": "application/x-tar"})
    assert answer.status == 200
    (line,) = answer.json_lines()
    assert line["error"] == line["errorDetail"]["message"]


# ── paths, versions, methods ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_",
    [
        *("GET /", "GET /nosuch", "GET /containers", "GET /containers/", "GET /v1.41"),
        *("POST /_ping", "PUT /containers/json", "POST /containers/json", "GET /v1.41/"),
        "GET /containers/create",
        *("DELETE /info", "PATCH /version", "GET /vx/info", "GET /v/info", "GET /json"),
        *("GET /containers/going/nosuch", "GET /containers/a%0d%0aX-Evil:%201/json",
          "DELETE /exec/nosuch", "GET /etc/passwd"),
    ],
)  # fmt: skip
def test_unknown_pages(stage: Stage, request_: str) -> None:
    """Unknown paths, and known ones by the wrong method, are all the same 404."""
    assert stage.refusal(request_) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        ("GET //containers/json", "/containers/json"),
        ("GET /containers//json?all=1", "/containers/json?all=1"),
        ("GET /containers/./json", "/containers/json"),
        ("GET /containers/../info", "/info"),
        ("GET /containers/%2e%2e/info", "/info"),
        ("GET /containers/x%2f..%2f..%2finfo", "/info"),
        ("GET /containers/%2Fgoing/json", "/containers/going/json"),
        ("GET /images/..%2f..%2fetc/json", "/etc/json"),
        ("GET /exec/..%2f..%2fx/json", "/x/json"),
        ("GET /../../etc/passwd", "/etc/passwd"),
        ("GET /containers/%2e%2e%2f%2e%2e%2fetc%2fpasswd/json", "/etc/passwd/json"),
        ("DELETE /containers/..", "/"),
        ("POST /containers/going/../still/start", "/containers/still/start"),
        ("GET /v1.41//info", "/v1.41/info"),
    ],
)
def test_paths_that_are_not_clean(stage: Stage, request_: str, target: str) -> None:
    """The client is sent to the clean path; nothing is done meanwhile."""
    answer = stage.answer(request_)
    assert (answer.status, answer.headers["location"], answer.body) == (301, target, b"")


@pytest.mark.parametrize(
    ("ref", "shown"),
    [
        ("%00", "\0"),
        ("going%00", "going\0"),
        ("%ff", "�"),
        ("a" * 5000, "a" * 5000),
        ("%252e%252e", "%2e%2e"),
        ("%E2%80%AE", "\u202e"),
    ],
    ids=case_id,
)
def test_strange_references(stage: Stage, ref: str, shown: str) -> None:
    """Decoded once, taken for a name that nobody has."""
    expected = (404, f"No such container: {shown}")
    assert stage.refusal(f"GET /containers/{ref}/json") == expected
    assert stage.refusal(f"POST /containers/{ref}/start") == expected
    assert stage.refusal(f"DELETE /containers/{ref}") == expected


@pytest.mark.parametrize(
    ("version", "message"),
    [
        *((version, TOO_OLD) for version in ("0", "1", "1.0", "1.23", "1.9", "0.99")),
        *((version, TOO_NEW) for version in ("1.57", "1.99", "2.0", "99999999999999999999.1")),
    ],
)
def test_versions_out_of_range(stage: Stage, version: str, message: str) -> None:
    """Refused wherever they are asked for, with what would be in range."""
    for page in ("info", "containers/json", "_ping", "version"):
        expected = (400, message.format(version))
        assert stage.refusal(f"GET /v{version}/{page}") == expected


# ── sizes and framing ────────────────────────────────────────────────────────────────────────


def test_a_huge_head(stage: Stage) -> None:
    """Refused before it has come in whole."""
    head = b"GET /info HTTP/1.1\r\nHost: docker\r\nX-Long: " + b"x" * 2_000_000 + b"\r\n\r\n"
    answer = send_raw(stage.daemon.socket, head)
    # The connection is closed with bytes unread, which may take the answer with it.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    head = b"GET /info HTTP/1.1\r\nHost: docker\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n"
    answer = send_raw(stage.daemon.socket, head)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_huge_body(stage: Stage) -> None:
    """JSON is held in memory, and therefore bounded."""
    body = json.dumps(raw(Cmd=["x" * 17_000_000])).encode()
    assert stage.refusal(f"POST {CREATE}", body, JSON) == (
        400,
        "request body larger than 16777216 bytes",
    )


@pytest.mark.parametrize(
    "head",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /info\r\n\r\n",
        b"GET /info HTTP/1.1\r\n\r\n",
        b"GET /containers/%zz/json HTTP/1.1\r\nHost: docker\r\n\r\n",
        b"GET /containers/\0/json HTTP/1.1\r\nHost: docker\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: docker\r\nBad Header: x\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: -5\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_request(stage: Stage, head: bytes) -> None:
    """400 and the end of the connection."""
    answer = send_raw(stage.daemon.socket, head)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"Connection: close" in answer


def test_a_body_that_stops_short(stage: Stage) -> None:
    """A client that leaves in the middle of its body has asked for nothing."""
    head = b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 500\r\n"
    head += b"Content-Type: application/json\r\n\r\n"
    answer = send_raw(stage.daemon.socket, head + b'{"Image":"busybox"')
    assert b" 201 " not in answer
