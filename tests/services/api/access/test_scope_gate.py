"""The gate of a scoped socket: what it lets through is what was judged, and no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from services.api.access.scope_gate import ScopeGate
from services.api.access.scopes import parse_scoped_socket
from services.api.http.asgi import Receive, Scope, Send
from services.errors import NotFound
from tests.services.api.support import ENGINE, serving

MINE = "a" * 64
OTHER = "b" * 64


@dataclass(frozen=True)
class One:
    id: str
    labels: Mapping[str, str]


class Table:
    """Two containers: `mine` with the labels, `other` without; execs e1 and e2 in them."""

    def container(self, ref: str) -> One:
        if ref in ("mine", MINE, MINE[:12]):
            return One(MINE, {"team": "blue", "x": "y"})
        if ref in ("other", OTHER):
            return One(OTHER, {"team": "red"})
        raise NotFound(f"No such container: {ref}")

    def of_exec(self, exec_id: str) -> One:
        if exec_id in ("e1", "e2"):
            return self.container("mine" if exec_id == "e1" else "other")
        raise NotFound(f"No such exec instance: {exec_id}")


@dataclass
class Seen:
    """What came to the handler."""

    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[bytes, bytes]

    @property
    def filters(self) -> dict[str, list[str]]:
        return dict(json.loads(self.query["filters"][0]))


class Behind:
    """The app behind the gate."""

    def __init__(self, answer: object = None) -> None:
        self.seen: list[Seen] = []
        self.answer = answer or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = parse_qs(scope["query_string"].decode())
        self.seen.append(Seen(scope["path"], query, body, dict(scope["headers"])))
        data = json.dumps(self.answer).encode()
        headers = [(b"Content-Length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": False})


class Scoped:
    """A gate with a policy, asked over a socket."""

    def __init__(self, served: Any, behind: Behind) -> None:
        self._served = served
        self.behind = behind

    async def ask(
        self, method: str, path: str, body: object = None, extra: str = ""
    ) -> tuple[int, Any]:
        """Status and decoded answer."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        kind = "Content-Type: application/json\r\n" if data and "Content-Type" not in extra else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n{kind}{extra}"
            "Connection: close\r\n\r\n"
        )
        answer = await self._served.ask(head.encode() + data)
        first, _, rest = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), json.loads(rest or b"null")


@asynccontextmanager
async def scoped(
    tmp_path: Path, policy: dict[str, Any], answer: object = None
) -> AsyncIterator[Scoped]:
    """A gate with this policy."""
    socket = parse_scoped_socket(json.dumps({"path": "/x", "policy": policy}))
    behind = Behind(answer)
    gate = ScopeGate(behind, socket.policy, Table(), ENGINE)
    async with serving(gate, tmp_path) as served:
        yield Scoped(served, behind)


async def test_what_is_not_named_is_refused(tmp_path: Path) -> None:
    """Changes, contents, paths that there are not, other methods, and ways around."""
    async with scoped(tmp_path, {"read-only": True}) as one:
        for method, path in (
            ("POST", "/containers/create"),
            ("POST", "/v1.44/containers/mine/start"),
            ("GET", "/containers/mine/archive?path=/"),
            ("GET", "/containers/mine/logs?stdout=1"),
            ("GET", "/containers/mine/attach/ws"),
            ("GET", "/swarm/unlockkey"),
            ("GET", "/wharfinger/tree"),
            ("OPTIONS", "/containers/json"),
            ("GET", "//containers/json"),
            ("GET", "/images/../containers/json"),
            ("GET", "/contain%65rs/mine/export"),
            ("GET", "/images/x/get"),
        ):
            status, answer = await one.ask(method, path)
            assert status == 403, (method, path)
            assert answer["message"].startswith("this socket ")
        assert one.behind.seen == []
        for path in (
            "/v1.44/containers/json",
            "/info",
            "/events",
            "/exec/e2/json",
            "/images/a/b/json",
        ):
            assert (await one.ask("GET", path))[0] == 200, path


async def test_an_object_outside_is_not_there(tmp_path: Path) -> None:
    """404 in the words of what is not; what is inside is asked for by its whole id."""
    policy = {
        "operations": ["ContainerStop", "ExecStart", "ExecInspect"],
        "labels": {"team": "blue"},
    }
    async with scoped(tmp_path, policy) as one:
        for ref in ("other", OTHER, "nobody"):
            status, answer = await one.ask("POST", f"/v1.44/containers/{ref}/stop")
            assert (status, answer["message"]) == (404, f"No such container: {ref}")
        for exec_id in ("e2", "e3"):
            status, answer = await one.ask("GET", f"/exec/{exec_id}/json")
            assert (status, answer["message"]) == (404, f"No such exec instance: {exec_id}")
        assert one.behind.seen == []
        for ref in ("mine", MINE[:12]):
            assert (await one.ask("POST", f"/v1.44/containers/{ref}/stop?t=1"))[0] == 200
            assert one.behind.seen.pop().path == f"/v1.44/containers/{MINE}/stop"
        assert (await one.ask("POST", "/exec/e1/start", {"Detach": True}))[0] == 200


async def test_lists_and_events_are_filtered(tmp_path: Path) -> None:
    """The labels are asked for besides the client's own filters, in either of their forms."""
    policy = {"read-only": True, "operations": ["ContainerPrune"], "labels": {"team": "blue"}}
    async with scoped(tmp_path, policy) as one:
        await one.ask("GET", "/containers/json?all=1")
        assert one.behind.seen[-1].filters == {"label": ["team=blue"]}
        assert one.behind.seen[-1].query["all"] == ["1"]
        both = (
            "%7B%22label%22%3A%7B%22team%3Dred%22%3Atrue%7D%2C%22status%22%3A%5B%22exited%22%5D%7D"
        )
        await one.ask("POST", f"/containers/prune?filters={both}&filters=%7B%7D")
        assert one.behind.seen[-1].filters == {
            "label": ["team=red", "team=blue"],
            "status": ["exited"],
        }
        assert len(one.behind.seen[-1].query["filters"]) == 1
        await one.ask("GET", "/events?filters=%7B%22type%22%3A%5B%22image%22%5D%7D&since=1")
        assert one.behind.seen[-1].filters == {"type": ["container"], "label": ["team=blue"]}
        assert (await one.ask("GET", "/containers/json?filters=x"))[0] == 400
        assert (await one.ask("GET", "/volumes"))[0] == 403


async def test_a_create_gets_the_labels_and_nothing_dangerous(tmp_path: Path) -> None:
    """What the handler gets is what was judged, whatever was sent."""
    policy = {"operations": ["ContainerCreate"], "labels": {"team": "blue"}}
    async with scoped(tmp_path, policy) as one:
        body = {"image": "b", "Labels": {"team": "red"}, "HostConfig": {"Memory": 5}}
        assert (await one.ask("POST", "/v1.44/containers/create?name=n", body))[0] == 200
        seen = one.behind.seen.pop()
        made = json.loads(seen.body)
        assert made["Labels"] == {"team": "blue"}
        assert (made["Image"], made["HostConfig"]["Memory"]) == ("b", 5)
        assert int(seen.headers[b"content-length"]) == len(seen.body)
        for dangerous in (
            b'{"HostConfig":{"Privileged":true}}',
            b'{"HostConfig":{"privileged":true}}',
            b'{"hostconfig":{"PRIVILEGED":true}}',
            b'{"HostConfig":{"Privileged":false,"privileged":true}}',
            b'{"HostConfig":{"Binds":["/:/h"]}}',
        ):
            status, answer = await one.ask("POST", "/containers/create", dangerous)
            assert status == 403, dangerous
            assert "cannot be used on this socket" in answer["message"]
        plain = "Content-Type: text/plain\r\n"
        assert (await one.ask("POST", "/containers/create", dangerous, plain))[0] == 400
        assert (await one.ask("POST", "/containers/create", b"{"))[0] == 400
        assert one.behind.seen == []


async def test_execs_volumes_networks_and_builds(tmp_path: Path) -> None:
    """What could reach the host by another way is looked at too."""
    policy = {
        "operations": [
            "ContainerExec", "ContainerUpdate", "VolumeCreate", "NetworkCreate", "ImageBuild"
        ]
    }  # fmt: skip
    async with scoped(tmp_path, policy) as one:
        for path, body, status in (
            ("/containers/mine/exec", {"Cmd": ["id"], "Privileged": True}, 403),
            ("/containers/mine/exec", {"Cmd": ["id"]}, 200),
            ("/containers/mine/update", {"Devices": [{"PathOnHost": "/dev/sda"}]}, 403),
            ("/containers/mine/update", {"Memory": 5}, 200),
            ("/volumes/create", {"Name": "v", "DriverOpts": {"device": "/", "o": "bind"}}, 403),
            ("/volumes/create", {"Name": "v", "Labels": {"a": "b"}}, 200),
            ("/networks/create", {"Name": "n"}, 403),
            ("/build?networkmode=host", None, 403),
            ("/build?networkmode=none", None, 200),
        ):
            assert (await one.ask("POST", path, body))[0] == status, (path, body)


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_inspect_keeps_the_values_of_variables(tmp_path: Path, allowed: bool) -> None:
    """Their names only, unless the policy allows more."""
    policy: dict[str, Any] = {"read-only": True}
    if allowed:
        policy["allow"] = ["environment"]
    shown = {"Id": MINE, "Config": {"Env": ["A=secret=x", "B"], "Image": "b"}}
    async with scoped(tmp_path, policy, shown) as one:
        status, answer = await one.ask("GET", "/containers/mine/json")
    expected = ["A=secret=x", "B"] if allowed else ["A=<hidden>", "B=<hidden>"]
    assert (status, answer["Config"]) == (200, {"Env": expected, "Image": "b"})
