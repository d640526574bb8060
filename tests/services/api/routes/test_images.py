"""The routes of images: dockerd's answers, and the definition's schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
import trio.testing

from services.api.routes.images import ImageRoutes, nobody
from services.errors import InvalidParameter
from services.images import ImageId, ImageUse, IngestProgress, Loaded
from tests.services.api.client import Api, api_of
from tests.services.api.images import (
    BORN_NS,
    SECOND_NS,
    MemoryImages,
    MemorySnapshots,
    bare_image,
    digest,
    full_image,
)
from tests.services.api.openapi import require_definition


def used_once(image_id: str, /) -> Sequence[ImageUse]:
    return (ImageUse(container_id="c" * 64, is_running=True),)


@asynccontextmanager
async def serving(
    tmp_path: Path, images: MemoryImages, *, in_use: object = nobody
) -> AsyncIterator[Api]:
    routes = ImageRoutes(
        images,
        snapshots=MemorySnapshots(),
        in_use=in_use,  # type: ignore[arg-type]
        snapshotter="overlayfs",
    )
    async with api_of(tmp_path, routes.blueprint()) as api:
        yield api


def two_images() -> MemoryImages:
    return MemoryImages([full_image("1", "busybox", "r.example:5000/a/b:tag"), bare_image()])


async def test_a_list_fits_the_definition(tmp_path: Path) -> None:
    """Every kind of image, with everything asked for."""
    path = "/images/json?all=1&digests=1&shared-size=1&manifests=1"
    async with serving(tmp_path, two_images()) as api:
        answer = await api.call("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    require_definition().validate("ImageList", 200, answer.json())


async def test_a_summary(tmp_path: Path) -> None:
    """Names, sizes and times of a list, as dockerd counts them."""
    async with serving(tmp_path, two_images(), in_use=used_once) as api:
        full, bare = (await api.call("GET", "/images/json")).json()
    assert full["Id"] == digest("1")
    assert full["RepoTags"] == ["busybox:latest", "r.example:5000/a/b:tag"]
    assert full["RepoDigests"] == [f"busybox@{digest('1')}", f"r.example:5000/a/b@{digest('1')}"]
    assert full["Size"] == 4200
    assert full["SharedSize"] == -1
    assert full["Containers"] == 1
    assert full["Created"] == BORN_NS // SECOND_NS
    assert full["Labels"] == {"a": "1"}
    assert "VirtualSize" not in full
    assert "Manifests" not in full
    assert (bare["RepoTags"], bare["RepoDigests"], bare["Created"]) == ([], [], 0)


@pytest.mark.parametrize(
    ("version", "members", "names"),
    [
        ("1.42", {"VirtualSize"}, ["<none>:<none>"]),
        ("1.43", {"VirtualSize"}, []),
        ("1.47", set(), []),
        ("1.48", {"Descriptor"}, []),
    ],
)
async def test_a_summary_in_older_versions(
    tmp_path: Path, version: str, members: set[str], names: list[str]
) -> None:
    """What came and went with the versions of the API."""
    async with serving(tmp_path, two_images(), in_use=used_once) as api:
        answer = (await api.call("GET", f"/v{version}/images/json")).json()
    assert answer[1]["RepoTags"] == names
    assert answer[1].keys() & {"VirtualSize", "Descriptor"} == members
    assert answer[1]["Containers"] == -1


async def test_shared_sizes(tmp_path: Path) -> None:
    """Layers that two of the listed images have count in full for each; others not at all."""
    images = MemoryImages([full_image("1", "a"), full_image("2", "b"), bare_image()])
    async with serving(tmp_path, images) as api:
        answer = (await api.call("GET", "/images/json?shared-size=1")).json()
    assert {one["Id"]: one["SharedSize"] for one in answer} == {
        digest("1"): 1200,
        digest("2"): 1200,
        digest("9"): 0,
    }


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"dangling": ["true"]}, {"9"}),
        ({"dangling": {"0": True}}, {"1"}),
        ({"reference": ["busy*"]}, {"1"}),
        ({"label": ["a=1"]}, {"1"}),
        ({"label": ["a!=1"]}, {"9"}),
        ({"label!": ["a"]}, {"9"}),
        ({"until": ["2001-01-01"]}, set()),
        ({"until": ["1h"]}, {"1"}),
    ],
)
async def test_filters(tmp_path: Path, filters: object, found: set[str]) -> None:
    """Each filter of the API, in both spellings of the parameter."""
    async with serving(tmp_path, two_images()) as api:
        answer = await api.call("GET", f"/images/json?filters={quote(json.dumps(filters))}")
    assert {one["Id"] for one in answer.json()} == {digest(d) for d in found}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"nope": ["1"]}, "invalid filter 'nope'"),
        ({"dangling": ["maybe"]}, "invalid filter 'dangling=[maybe]'"),
        ({"dangling": ["1", "0"]}, "invalid filter 'dangling=[1 0]'"),
    ],
)
async def test_bad_filters(tmp_path: Path, filters: object, message: str) -> None:
    """dockerd's refusals."""
    async with serving(tmp_path, two_images()) as api:
        answer = await api.call("GET", f"/images/json?filters={quote(json.dumps(filters))}")
    assert (answer.status, answer.message) == (400, message)


@pytest.mark.parametrize("query", ["", "?manifests=1"])
@pytest.mark.parametrize("name", ["busybox", "r.example:5000/a/b:tag", digest("9"), "11" + "0" * 9])
async def test_an_inspection_fits_the_definition(tmp_path: Path, name: str, query: str) -> None:
    """Names with slashes, colons and ports; images with everything and with nothing."""
    images = MemoryImages([*two_images().images, full_image("11", "other")])
    async with serving(tmp_path, images) as api:
        answer = await api.call("GET", f"/images/{name}/json{query}")
    assert answer.status == 200
    require_definition().validate("ImageInspect", 200, answer.json())


async def test_an_inspection(tmp_path: Path) -> None:
    """What the image says, without what it does not say."""
    async with serving(tmp_path, two_images()) as api:
        wire = (await api.call("GET", "/images/busybox/json")).json()
        bare = (await api.call("GET", f"/images/{digest('9')}/json")).json()
    assert wire["Config"] == {
        "Env": ["PATH=/bin"],
        "Cmd": ["sh"],
        "Labels": {"a": "1"},
        "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": SECOND_NS},
    }
    assert wire["Created"] == "2023-11-14T22:13:20.123456789Z"
    assert wire["Metadata"] == {"LastTagTime": "2023-11-14T22:13:20.123456789Z"}
    assert (wire["Comment"], wire["Author"]) == ("last", "somebody")
    assert wire["Descriptor"]["digest"] == wire["Id"] == digest("1")
    assert not {"GraphDriver", "VirtualSize", "Parent", "Variant"} & wire.keys()
    assert not {"Created", "Comment", "Author"} & bare.keys()


async def test_an_inspection_in_older_versions(tmp_path: Path) -> None:
    """Members that the API has dropped since, where old clients count on them."""
    async with serving(tmp_path, two_images()) as api:
        wire = (await api.call("GET", f"/v1.43/images/{digest('9')}/json")).json()
        newer = (await api.call("GET", f"/v1.50/images/{digest('9')}/json")).json()
    assert wire["Created"] == "0001-01-01T00:00:00Z"
    assert wire["VirtualSize"] == wire["Size"] == 500
    assert wire["GraphDriver"] == {"Name": "overlayfs", "Data": {}}
    assert wire["Config"]["Cmd"] is None
    assert wire["Config"]["Tty"] is False
    assert wire.keys() >= {"Container", "ContainerConfig", "DockerVersion", "Parent"}
    assert "Tty" not in newer["Config"]
    assert newer["Config"]["WorkingDir"] == ""


async def test_one_platform(tmp_path: Path) -> None:
    """This machine's is shown by its manifest, another one is not there."""
    own = quote('{"os":"linux","architecture":"x86_64"}')
    other = quote('{"os":"linux","architecture":"arm64"}')
    async with serving(tmp_path, two_images()) as api:
        wire = (await api.call("GET", f"/images/busybox/json?platform={own}")).json()
        missing = await api.call("GET", f"/images/busybox/json?platform={other}")
        both = await api.call("GET", f"/images/busybox/json?manifests=1&platform={own}")
        bad = await api.call("GET", "/images/busybox/json?platform=x")
    assert wire["Id"] == wire["Descriptor"]["digest"] == digest("1a")
    assert missing.status == 404
    assert "does not provide the specified platform (linux/arm64)" in missing.message
    assert (both.status, bad.status) == (400, 400)
    assert bad.message.startswith("failed to parse platform: ")


async def test_origins(tmp_path: Path) -> None:
    """Where an image came from: of itself, and of its manifests where that is asked for."""
    images = two_images()
    ids = [image.id for image in images.images]
    images.origins = {digest("1a"): ["docker.io/library/busybox"], ids[0]: ["reg.example/x"]}
    origin = {"Pull": [{"Repository": "docker.io/library/busybox"}]}
    async with serving(tmp_path, images) as api:
        listed = (await api.call("GET", "/images/json?manifests=1&identity=1")).json()
        plain = (await api.call("GET", "/images/json?manifests=1")).json()
        old = (await api.call("GET", "/v1.53/images/json?manifests=1&identity=1")).json()
        refused = await api.call("GET", "/images/json?identity=1")
        one = (await api.call("GET", f"/images/{ids[0]}/json")).json()
        before = (await api.call("GET", f"/v1.53/images/{ids[0]}/json")).json()
    manifests = {m["ID"]: m for image in listed for m in image.get("Manifests") or ()}
    assert manifests[digest("1a")]["ImageData"]["Identity"] == origin
    assert not any("Identity" in str(answer) for answer in (plain, old))
    assert refused.status == 400
    assert one["Identity"] == {"Pull": [{"Repository": "reg.example/x"}]}
    assert "Identity" not in before


async def test_removing_platforms(tmp_path: Path) -> None:
    """From 1.50 on; before, the word is not known, and all goes."""
    own = quote('{"os":"linux","architecture":"amd64"}')
    other = quote('{"os":"linux","architecture":"arm64"}')
    async with serving(tmp_path, two_images(), in_use=nobody) as api:
        missing = await api.call("DELETE", f"/images/busybox?platforms={other}")
        bad = await api.call("DELETE", "/images/busybox?platforms=x")
        removed = (await api.call("DELETE", f"/images/busybox?platforms={own}")).json()
        whole = (await api.call("DELETE", f"/v1.49/images/busybox?platforms={own}")).json()
    assert (missing.status, bad.status) == (404, 400)
    assert removed == [{"Deleted": digest("1a")}]
    assert {"Untagged": "busybox:latest"} in whole


async def test_history(tmp_path: Path) -> None:
    """Last step first; empty steps weigh nothing; only the image itself has an id."""
    async with serving(tmp_path, two_images()) as api:
        wire = (await api.call("GET", "/images/busybox/history")).json()
    require_definition().validate("ImageHistory", 200, wire)
    assert [(step["CreatedBy"], step["Size"]) for step in wire] == [
        ("RUN make", 200),
        ("ENV", 0),
        ("ADD file", 1000),
    ]
    assert [step["Id"] for step in wire] == [digest("1"), "<missing>", "<missing>"]
    assert wire[0]["Tags"] == ["busybox:latest", "r.example:5000/a/b:tag"]
    assert wire[2]["Created"] == BORN_NS // SECOND_NS


async def test_tag(tmp_path: Path) -> None:
    """201 without a body, and the new name."""
    images = two_images()
    async with serving(tmp_path, images) as api:
        answer = await api.call("POST", "/images/busybox/tag?repo=r.example%2Fx&tag=2")
        invalid = await api.call("POST", "/images/busybox/tag?repo=UPPER")
    assert (answer.status, answer.body) == (201, b"")
    assert "r.example/x:2" in images.images[0].repo_tags
    assert invalid.status == 400


async def test_remove(tmp_path: Path) -> None:
    """What went, in the definition's words; what stands in the way; what is not there."""
    async with serving(tmp_path, two_images()) as api:
        conflict = await api.call("DELETE", f"/images/{digest('1')}")
        gone = await api.call("DELETE", "/images/busybox?noprune=1")
        missing = await api.call("DELETE", "/images/busybox")
        last = await api.call("DELETE", "/images/r.example:5000/a/b:tag")
    assert conflict.status == 409
    assert gone.json() == [{"Untagged": "busybox:latest"}]
    assert (missing.status, missing.message) == (404, "No such image: busybox:latest")
    assert last.json() == [{"Untagged": "r.example:5000/a/b:tag"}, {"Deleted": digest("1")}]
    require_definition().validate("ImageDelete", 200, last.json())


def loading() -> MemoryImages:
    return MemoryImages(
        [],
        reports=[
            IngestProgress(path="blobs/sha256/" + "d" * 64, done_bytes=1, total_bytes=2),
            Loaded(image_id=ImageId(digest("1")), name="busybox:latest"),
        ],
    )


async def test_a_load_tells_its_progress(tmp_path: Path) -> None:
    """JSON lines that clients draw bars from, then what was loaded."""
    images = loading()
    async with serving(tmp_path, images) as api:
        answer = await api.call("POST", "/images/load?quiet=0", b"x" * 1000)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert [json.loads(line) for line in answer.body.split(b"\r\n") if line] == [
        {
            "status": "Loading layer",
            "progressDetail": {"current": 1, "total": 2},
            "id": "d" * 12,
        },
        {"stream": "Loaded image: busybox:latest\n"},
    ]
    assert images.loaded_bytes == 1000


async def test_a_quiet_load(tmp_path: Path) -> None:
    """Quiet is the default, and means no progress."""
    async with serving(tmp_path, loading()) as api:
        answer = await api.call("POST", "/images/load", b"x")
    assert answer.body == b'{"stream":"Loaded image: busybox:latest\\n"}\r\n'


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidParameter("not an archive"), "not an archive"),
        (ValueError("secret"), "internal error: the daemon's log has the details"),
    ],
)
async def test_a_load_that_fails(tmp_path: Path, error: Exception, message: str) -> None:
    """The head has left: the last line tells, and of bugs only that there was one."""
    images = MemoryImages([], load_error=error)
    async with serving(tmp_path, images) as api:
        answer = await api.call("POST", "/images/load", b"x")
    assert answer.status == 200
    assert answer.json() == {"errorDetail": {"message": message}, "error": message}


async def test_who_leaves_ends_the_load(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A client that hangs up in the middle of its upload cancels the load."""
    images = loading()
    async with serving(tmp_path, images) as api:
        head = b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\nx"
        client = await api.connect()
        await client.send_all(head)
        await trio.testing.wait_all_tasks_blocked()
        assert not images.load_ended.is_set()
        await client.aclose()
        await images.load_ended.wait()
    assert images.loaded_bytes == 1


async def test_platforms_of_an_archive(tmp_path: Path) -> None:
    """Handed on, each once; one that is none is refused; before 1.48 there was no such word."""
    platform = "platform=%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D"
    other = platform.replace("arm64", "s390x")
    images = two_images()
    async with serving(tmp_path, images) as api:
        assert (await api.call("POST", f"/images/load?{platform}", b"x")).status == 200
        assert [str(each) for each in images.loaded_platforms] == ["linux/arm64"]
        assert (await api.call("POST", f"/v1.47/images/load?{platform}", b"x")).status == 200
        assert images.loaded_platforms == ()
        bad = await api.call("POST", "/images/load?platform=%7B%7D", b"x")
        several = await api.call("GET", f"/images/get?names=busybox&{platform}&{other}&{platform}")
        saved = await api.call("GET", f"/images/busybox/get?{platform}")
        absent = await api.call("GET", "/images/nosuch/get")
    assert (bad.status, several.status, absent.status) == (400, 200, 404)
    assert several.body == b"(('busybox',), ['linux/arm64', 'linux/s390x'])"
    assert saved.headers["content-type"] == "application/x-tar"
    assert b"arm64" in saved.body
