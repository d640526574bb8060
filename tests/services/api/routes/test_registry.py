"""The routes of registries: what reaches the registry client, and what clients are told."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from services.api.routes.image_making import ImageMakingRoutes
from services.api.routes.registry import RegistryRoutes
from services.errors import EngineError, NotFound, Unauthorized
from services.images import OciDescriptor, Reference
from services.images.oci import OciPlatform
from services.registry import (
    Credentials,
    Distribution,
    Login,
    PullRequest,
    PushRequest,
    SearchRequest,
    SearchResult,
)
from services.registry.progress import Board
from tests.services.api.client import Api, api_of
from tests.services.api.openapi import require_definition

DIGEST = f"sha256:{'a' * 64}"


@dataclass
class FakeTransfer:
    board: Board = field(default_factory=Board)
    error: EngineError | None = None


@dataclass
class FakeRegistry:
    """Says what it is told to say, and remembers what it was asked."""

    messages: Sequence[str] = ()
    error: EngineError | None = None
    asked: list[Any] = field(default_factory=list)

    @asynccontextmanager
    async def pull(self, request: PullRequest) -> AsyncIterator[FakeTransfer]:
        self.asked.append(request)
        transfer = FakeTransfer(error=self.error)
        for message in self.messages:
            transfer.board.message(message, "1")
            transfer.board.count("abc", "Downloading", 512, 1024)
        transfer.board.close()
        yield transfer

    @asynccontextmanager
    async def push(self, request: PushRequest) -> AsyncIterator[FakeTransfer]:
        self.asked.append(request)
        transfer = FakeTransfer(error=self.error)
        transfer.board.message("The push refers to repository [x]")
        transfer.board.aux({"Tag": "1"})
        transfer.board.close()
        yield transfer

    async def login(self, credentials: Credentials) -> Login:
        self.asked.append(credentials)
        if self.error is not None:
            raise self.error
        return Login(identity_token="it")

    async def inspect(self, reference: Reference, credentials: Credentials) -> Distribution:
        self.asked.append((reference, credentials))
        return Distribution(
            descriptor=OciDescriptor(media_type="m", digest=DIGEST, size=7),
            platforms=(OciPlatform(architecture="arm64", os="linux", variant="v8"),),
        )

    async def search(self, request: SearchRequest) -> Sequence[SearchResult]:
        self.asked.append(request)
        return [
            SearchResult(
                name="n", description="d", star_count=1, is_official=True, is_automated=False
            )
        ]


@asynccontextmanager
async def serving(tmp_path: Path, registry: FakeRegistry) -> AsyncIterator[Api]:
    routes = RegistryRoutes(registry)
    making = ImageMakingRoutes(None, None, pull=routes.pull)  # type: ignore[arg-type]
    async with api_of(tmp_path, routes.blueprint(), making.blueprint()) as api:
        yield api


def auth(**fields: str) -> dict[str, str]:
    encoded = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
    return {"X_Registry_Auth": encoded}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("fromImage=a&tag=1", "docker.io/library/a:1"),
        ("fromImage=a:2", "docker.io/library/a:2"),
        ("fromImage=a:2&tag=3", "docker.io/library/a:3"),
        ("fromImage=a:", "docker.io/library/a"),
        (f"fromImage=a&tag={DIGEST}", f"docker.io/library/a@{DIGEST}"),
        ("fromImage=h:5000/a/b@" + DIGEST, f"h:5000/a/b@{DIGEST}"),
    ],
)
async def test_what_is_pulled(tmp_path: Path, query: str, expected: str) -> None:
    """Name and tag together; the tag may be a digest, and a name alone means all tags."""
    registry = FakeRegistry()
    async with serving(tmp_path, registry) as api:
        answer = await api.call("POST", f"/images/create?{query}")
    assert answer.status == 200
    assert str(registry.asked[0].reference) == expected


async def test_a_pull_tells_what_clients_draw(tmp_path: Path) -> None:
    """Lines of JSON with a bar, then the error in the stream."""
    registry = FakeRegistry(messages=["Pulling from a"], error=EngineError("broken"))
    async with serving(tmp_path, registry) as api:
        answer = await api.call("POST", "/images/create?fromImage=a&tag=1&platform=linux/arm64")
    lines = [json.loads(line) for line in answer.body.split(b"\r\n") if line]
    assert answer.status == 200
    assert lines == [
        {"status": "Pulling from a", "id": "1"},
        {
            "status": "Downloading",
            "id": "abc",
            "progressDetail": {"current": 512, "total": 1024},
            "progress": f"[{'=' * 25}>{' ' * 25}]     512B/1.024kB",
        },
        {"errorDetail": {"message": "broken"}, "error": "broken"},
    ]
    assert str(registry.asked[0].platform) == "linux/arm64"


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("fromImage=a&tag=1", 404, "not there"),
        ("fromImage=A", 400, "repository name (library/A) must be lowercase"),
        ("fromImage=a&tag=!", 400, "invalid tag format"),
        ("fromImage=scratch", 403, "'scratch' is a reserved name"),
        ("fromImage=a&platform=no/such/thing/here", 400, "cannot parse platform specifier"),
    ],
)
async def test_errors_before_the_first_line(
    tmp_path: Path, query: str, status: int, message: str
) -> None:
    """Have a status of their own."""
    async with serving(tmp_path, FakeRegistry(error=NotFound("not there"))) as api:
        answer = await api.call("POST", f"/images/create?{query}")
    assert answer.status == status
    assert message in answer.json()["message"]


async def test_credentials(tmp_path: Path) -> None:
    """A pull ignores what it cannot read; a push needs a header or a body."""
    registry = FakeRegistry()
    async with serving(tmp_path, registry) as api:
        await api.call("POST", "/images/create?fromImage=a", b"", **auth(username="me"))
        await api.call("POST", "/images/create?fromImage=a", X_Registry_Auth="?")
        await api.call("POST", "/images/a/b/push?tag=1", b"", **auth(username="me"))
        body = json.dumps({"username": "old"}).encode()
        await api.call("POST", "/images/a/push", body=body)
        without = await api.call("POST", "/images/a/push?tag=1")
    assert [one.credentials.username for one in registry.asked] == ["me", "", "me", "old"]
    assert str(registry.asked[2].reference) == "docker.io/a/b:1"
    assert registry.asked[3].reference.is_name_only
    assert without.status == 400
    assert "missing X-Registry-Auth" in without.json()["message"]


async def test_a_push_tells_what_it_pushed(tmp_path: Path) -> None:
    """In `aux`, where programs look for it."""
    async with serving(tmp_path, FakeRegistry()) as api:
        answer = await api.call("POST", "/images/a/push?tag=1", b"", **auth())
    lines = [json.loads(line) for line in answer.body.split(b"\r\n") if line]
    assert lines[1] == {"progressDetail": {}, "aux": {"Tag": "1"}}


async def test_login(tmp_path: Path) -> None:
    """Good, and not good."""
    registry = FakeRegistry()
    body = json.dumps({"username": "u", "password": "p", "serveraddress": "s"}).encode()
    headers = {"Content_Type": "application/json"}
    async with serving(tmp_path, registry) as api:
        good = await api.call("POST", "/auth", body=body, **headers)
        registry.error = Unauthorized("no")
        bad = await api.call("POST", "/auth", body=body, **headers)
        rubbish = await api.call("POST", "/auth", body=b"{", **headers)
    assert good.json() == {"Status": "Login Succeeded", "IdentityToken": "it"}
    require_definition().validate("SystemAuth", 200, good.json())
    assert (bad.status, rubbish.status) == (401, 400)
    assert registry.asked[0].server_address == "s"


async def test_distribution(tmp_path: Path) -> None:
    """Names hold slashes and ports."""
    registry = FakeRegistry()
    async with serving(tmp_path, registry) as api:
        answer = await api.call("GET", "/distribution/h:1/a/b:2/json")
    require_definition().validate("DistributionInspect", 200, answer.json())
    assert str(registry.asked[0][0]) == "h:1/a/b:2"
    assert answer.json()["Platforms"] == [{"architecture": "arm64", "os": "linux", "variant": "v8"}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("term=x", 200),
        ("term=x&limit=100", 200),
        ("term=x&limit=0", 200),
        ("term=x&limit=101", 400),
        ("term=x&limit=-1", 400),
        ("term=x&limit=y", 400),
        ("", 400),
        ('term=x&filters={"is-official":["true"],"stars":["3","4"]}', 200),
        ('term=x&filters={"is-official":["perhaps"]}', 400),
        ('term=x&filters={"stars":["many"]}', 400),
        ('term=x&filters={"nosuch":["1"]}', 400),
    ],
)
async def test_search(tmp_path: Path, query: str, status: int) -> None:
    """Limits and filters are checked before anybody is asked."""
    registry = FakeRegistry()
    async with serving(tmp_path, registry) as api:
        answer = await api.call("GET", f"/images/search?{quote(query, safe='=&')}")
    assert answer.status == status
    if status == 200:
        require_definition().validate("ImageSearch", 200, answer.json())
    if "stars" in query and status == 200:
        assert (registry.asked[0].is_official, registry.asked[0].least_stars) == (True, 4)
