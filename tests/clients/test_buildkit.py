"""Builds by BuildKit's protocol: by a client that speaks it as buildx does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from protos.generated.fsutil.types import Stat
from protos.generated.moby.buildkit.v1 import (
    DiskUsageRequest,
    DiskUsageResponse,
    Exporter,
    InfoRequest,
    InfoResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    StatusResponse,
)
from tests.clients.building import no_images, run
from tests.support.buildkit_client import BuildKitClient, Built, Offer, call
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]
__all__ = ["no_images"]

NO_NETWORK = {"force-network-mode": "none"}


def offer(tmp_path: Path, dockerfile: str, files: Mapping[str, str] | None = None) -> Offer:
    """A client with a Dockerfile beside its context."""
    (tmp_path / "context").mkdir()
    (tmp_path / "dockerfile").mkdir()
    (tmp_path / "dockerfile" / "Dockerfile").write_text(dockerfile)
    for name, text in (files or {}).items():
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Offer(directories={name: tmp_path / name for name in ("context", "dockerfile")})


def build(daemon: Daemon, offered: Offer, name: str = "", **attributes: str) -> Built:
    """One build."""
    client = BuildKitClient(daemon.socket, offered)
    said = {one.replace("_", "-"): value for one, value in attributes.items()}
    return asyncio.run(client.build({**NO_NETWORK, **said}, name=name))


def message(built: Built) -> str:
    """Why there is no image."""
    assert built.error is not None
    return built.error.message or ""


def test_a_build_and_the_same_again(daemon: Daemon, tmp_path: Path) -> None:
    """The context comes without what is ignored; steps are told of; the second time they are
    there already, and the client is asked for the files all the same."""
    dockerfile = (
        "FROM busybox AS base\n"
        "ARG WHO\n"
        "RUN echo hello $WHO > /hello; echo said; echo no >&2\n"
        "FROM base\n"
        "WORKDIR /w\n"
        "COPY . .\n"
        'CMD ["sh", "-c", "cat /hello; find . | sort; cat link"]\n'
    )
    files = {"a": "A", "d/e/f": "F", "x/secret": "no", ".dockerignore": "# none\n/x\n"}
    offered = offer(tmp_path, dockerfile, files)
    (tmp_path / "context" / "link").symlink_to("d/e/f")
    attributes = {"build-arg:WHO": "you", "label:l": "v"}
    built = build(daemon, offered, "made:1,made:2", **attributes)
    assert built.error is None
    assert sorted(built.output.split()) == ["no", "said"]
    assert offered.asked == [
        "files dockerfile Dockerfile Dockerfile.dockerignore dockerfile",
        "files context .dockerignore",
        "files context !x",
    ]
    steps = built.vertexes
    assert list(steps)[3:] == [
        "[base 1/2] FROM docker.io/library/busybox:latest",
        "[base 2/2] RUN echo hello $WHO > /hello; echo said; echo no >&2",
        "[stage-1 1/2] WORKDIR /w",
        "[stage-1 2/2] COPY . .",
        "exporting to image",
    ]
    assert all(one.started and one.completed and not one.error for one in steps.values())
    image = json.loads(daemon.docker("inspect", "made:1").text)[0]
    assert built.answer["containerimage.digest"] == image["Id"]
    assert built.answer["image.name"] == "docker.io/library/made:1,docker.io/library/made:2"
    assert (sorted(image["RepoTags"]), image["Config"]["Labels"]) == (
        ["made:1", "made:2"],
        {"l": "v"},
    )
    assert run(daemon, "made:2").splitlines() == [
        *("hello you", ".", "./.dockerignore", "./a", "./d", "./d/e", "./d/e/f", "./link", "F"),
    ]
    again = build(daemon, offered, "made:3", **attributes)
    assert again.answer["containerimage.digest"] == image["Id"]
    cached = {name for name, one in again.vertexes.items() if one.cached}
    assert {name.split("] ")[1].split()[0] for name in cached} == {"RUN", "WORKDIR", "COPY"}
    assert again.output == ""


def test_a_step_that_fails(daemon: Daemon, tmp_path: Path) -> None:
    """Its step has the error, the answer its text and the place in the Dockerfile."""
    built = build(daemon, offer(tmp_path, "FROM busybox\nRUN echo why; exit 7\n"), "no:1")
    words = 'process "/bin/sh -c echo why; exit 7" did not complete successfully: exit code: 7'
    assert message(built) == words
    assert built.vertexes["[2/2] RUN echo why; exit 7"].error == words
    assert built.output == "why\n"
    assert built.error is not None
    (detail,) = built.error.details or []
    assert detail.type_url == "github.com/moby/buildkit/errdefs.Source+json"
    source = json.loads(detail.value)
    assert source["info"]["filename"] == "Dockerfile"
    assert source["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]
    assert "no:1" not in daemon.image_names()


@pytest.mark.parametrize(
    ("dockerfile", "said"),
    [
        ("FROM busybox\nNO x\n", "dockerfile parse error on line 2: unknown instruction: NO"),
        ("FROM busybox\nCOPY gone /\n", "COPY failed: file not found in build context"),
        ("FROM busybox\nRUN --mount=type=secret,id=s,required true\n", "secret s: not found"),
        ("FROM busybox\nRUN --mount=type=secret,id=s,env=S true\n", "a secret in a variable"),
    ],
)
def test_dockerfiles_that_cannot_be_built(
    daemon: Daemon, tmp_path: Path, dockerfile: str, said: str
) -> None:
    """Each is told in a sentence."""
    assert said in message(build(daemon, offer(tmp_path, dockerfile)))


def test_a_secret(daemon: Daemon, tmp_path: Path) -> None:
    """A command sees it as a file of root's; the image, and the engine's files, never have it."""
    dockerfile = (
        "FROM busybox\n"
        "RUN --mount=type=secret,id=s,target=/s,mode=0440 ls -ln /s > /seen; wc -c < /s >> /seen\n"
    )
    offered = offer(tmp_path, dockerfile)
    offered.secrets = {"s": b"very-secret-words"}
    assert build(daemon, offered, "with:1").error is None
    assert "secret s" in offered.asked
    seen = run(daemon, "with:1", "cat", "/seen").split()
    assert (seen[0], seen[2:5], seen[-1]) == ("-r--r-----", ["0", "0", "17"], "17")
    assert run(daemon, "with:1", "sh", "-c", "test -e /s || echo gone") == "gone"
    assert not list((daemon.data_root / "build").iterdir())
    mounts = Path("/proc/mounts").read_text().splitlines()
    assert not [line for line in mounts if f"{daemon.data_root}/build/" in line]
    assert "very-secret-words" not in daemon.log_text()


def test_named_contexts(daemon: Daemon, tmp_path: Path) -> None:
    """A directory and an image stand for what a FROM, a COPY and a mount take; also for a stage."""
    dockerfile = (
        "FROM scratch AS replaced\n"
        "FROM nowhere.invalid/base\n"
        "COPY --from=files /f /f\n"
        "COPY --from=replaced /bin/busybox /b\n"
        "RUN --mount=from=files,target=/m cat /m/f >> /f\n"
    )
    offered = offer(tmp_path, dockerfile)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "f").write_text("F\n")
    (tmp_path / "more" / "x").write_text("not sent")
    (tmp_path / "more" / ".dockerignore").write_text("x\n")
    offered.directories = {**offered.directories, "more": tmp_path / "more"}
    named = {
        "context:files": "local:more",
        "context:replaced": "docker-image://busybox",
        "context:nowhere.invalid/base": "docker-image://busybox:latest",
    }
    built = build(daemon, offered, "named:1", **named)
    assert built.error is None
    assert run(daemon, "named:1", "cat", "/f").split() == ["F", "F"]
    assert offered.asked[1:] == ["files more .dockerignore", "files more !x"]
    bad = build(daemon, offered, **{"context:files": "oci-layout://x"})
    assert "the context files=oci-layout://x is of a kind that is not supported" in message(bad)


def test_a_client_without_buildx(daemon: Daemon, tmp_path: Path) -> None:
    """POST /build with a session: the status messages are lines of the answer."""
    offered = offer(tmp_path, "FROM busybox\nCOPY f /\nRUN echo out; cat f\n", {"f": "F"})
    client = BuildKitClient(daemon.socket, offered)

    async def post(query: str) -> list[dict[str, Any]]:
        async with client.session() as session:
            target = f"/build?version=2&session={session}&networkmode=none&{query}"
            return (await asyncio.to_thread(daemon.http, "POST", target)).json_lines()

    lines = asyncio.run(post("remote=client-session&buildid=b1&t=old:1"))
    told = [base64.b64decode(line["aux"]) for line in lines if line["id"] == "moby.buildkit.trace"]
    batches = [StatusResponse.parse(one) for one in told]
    assert "[3/3] RUN echo out; cat f" in {v.name for one in batches for v in one.vertexes}
    assert b"".join(log.msg for one in batches for log in one.logs) == b"out\nF"
    image = json.loads(daemon.docker("inspect", "old:1").text)[0]
    assert lines[-1] == {"id": "moby.image.id", "aux": {"ID": image["Id"]}}
    failed = asyncio.run(post("remote=client-session&buildid=b2&target=none"))
    assert "failed to reach build target none" in failed[-1]["error"]
    assert daemon.http("POST", "/build/cancel?id=gone").status == 200
    assert daemon.http("POST", "/build/cancel").status == 400


def test_a_client_that_goes(daemon: Daemon, tmp_path: Path) -> None:
    """With its connection goes the build: its container, its files, its name."""
    client = BuildKitClient(
        daemon.socket, offer(tmp_path, "FROM busybox\nRUN echo up; sleep 1000\n")
    )

    async def leave_in_the_middle() -> None:
        up = asyncio.Event()

        def watch(batch: StatusResponse) -> None:
            if any(b"up" in one.msg for one in batch.logs):
                up.set()

        building = asyncio.create_task(client.build(NO_NETWORK, name="never:1", watch=watch))
        await asyncio.wait_for(up.wait(), 90)
        building.cancel()
        await asyncio.wait([building])

    asyncio.run(leave_in_the_middle())
    wait_until(lambda: not daemon.container_ids(), "the command's container is gone")
    wait_until(lambda: not list((daemon.data_root / "build").iterdir()), "its files are gone")
    assert "never:1" not in daemon.image_names()


def test_a_hostile_context(daemon: Daemon, tmp_path: Path) -> None:
    """Names that lead out of the context, and files that no context has, are refused."""
    offered = offer(tmp_path, "FROM busybox\nCOPY . /\n", {"f": "F"})
    link = Stat(path="d", mode=1 << 27 | 0o777, linkname="/etc")
    for stats, said in (
        ([Stat(path="../f", mode=0o644, size=1)], "no name of a file in a context"),
        ([Stat(path="/etc/f", mode=0o644, size=1)], "no name of a file in a context"),
        ([link, Stat(path="d/f", mode=0o644, size=1)], "is in no directory that was sent"),
        ([Stat(path="f", mode=1 << 26 | 0o666, devmajor=1, devminor=3)], "is a device"),
        ([Stat(path="f", mode=0o644, linkname="../x")], "no name of a file in a context"),
    ):
        offered.stats = stats
        assert said in message(build(daemon, offered))


def test_what_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """What the engine's builder does not do is said in a sentence, and nothing is built."""
    offered = offer(tmp_path, "FROM busybox\n")
    client = BuildKitClient(daemon.socket, offered)
    refused = {
        "several platforms": {"platform": "linux/amd64,linux/arm64"},
        "attestations": {"attest:provenance": "mode=max"},
        "the build option 'wonder'": {"wonder": "1"},
        "does not check": {"requestid": "frontend.outline"},
    }
    for said, attributes in refused.items():
        assert said in message(asyncio.run(client.build(attributes)))
    built = asyncio.run(client.build({}, frontend="gateway.v0"))
    assert "the front end 'gateway.v0' is not supported" in message(built)


async def _facts(client: BuildKitClient) -> tuple[InfoResponse, ListWorkersResponse, list[str]]:
    async with client.channel() as channel:
        info = await call(channel, "Info", InfoRequest(), InfoResponse)
        workers = await call(channel, "ListWorkers", ListWorkersRequest(), ListWorkersResponse)
        used = await call(channel, "DiskUsage", DiskUsageRequest(filter=[""]), DiskUsageResponse)
        with pytest.raises(GRPCError, match="the filter 'x==1' is not supported"):
            await call(channel, "DiskUsage", DiskUsageRequest(filter=["x==1"]), DiskUsageResponse)
    return info, workers, [one.description for one in used.record]


def test_what_the_builder_is(daemon: Daemon, tmp_path: Path) -> None:
    """Its name, its platform, what it has kept; and that the ping leads clients to it."""
    offered = offer(tmp_path, "FROM busybox\nRUN echo kept > /f\n")
    assert build(daemon, offered).error is None
    info, workers, kept = asyncio.run(_facts(BuildKitClient(daemon.socket, offered)))
    assert info.buildkit_version is not None
    assert info.buildkit_version.package == "wharfinger"
    (worker,) = workers.record
    assert [one.os for one in worker.platforms] == ["linux"]
    assert any("echo kept" in one for one in kept)
    assert daemon.http("GET", "/_ping").headers["builder-version"] == "2"


def test_without_an_upgrade(daemon: Daemon) -> None:
    """Both connections are for HTTP/2 alone, and a session needs an id."""
    for target in ("/grpc", "/session"):
        answer = daemon.http("POST", target)
        assert (answer.status, answer.message) == (400, "an upgrade to h2c is needed, not to ''")
    answer = daemon.http("POST", "/session", headers={"Upgrade": "h2c", "Connection": "Upgrade"})
    assert answer.status == 400


def test_an_output_that_is_no_image(daemon: Daemon, tmp_path: Path) -> None:
    """The Solve is refused at once, before anything is built."""
    client = BuildKitClient(daemon.socket, offer(tmp_path, "FROM busybox\n"))
    with pytest.raises(GRPCError, match="the output type 'local' is not supported"):
        asyncio.run(_solve(client, Exporter(type="local")))


async def _solve(client: BuildKitClient, exporter: Exporter) -> None:
    from protos.generated.moby.buildkit.v1 import SolveRequest, SolveResponse

    async with client.channel() as channel:
        request = SolveRequest(ref="one", session="none", exporters=[exporter])
        await call(channel, "Solve", request, SolveResponse)
