"""`docker image prune`: what goes, what a container keeps, and the space that came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.services.images.archives import TestImage, busybox_layer, docker_members, layer_with
from tests.services.images.archives import tar_of as tar
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


@pytest.fixture(scope="module")
def pruning() -> Iterator[Daemon]:
    """A daemon whose images these tests may change."""
    with running_daemon() as daemon:
        yield daemon


def load(daemon: Daemon, name: str, text: str, **config: object) -> str:
    """An image of its own under a name; its ID."""
    image = TestImage(layers=[busybox_layer(), layer_with(own=text)], tags=[name], config=config)
    daemon.docker("load", stdin=tar(docker_members(image)))
    return daemon.docker("inspect", "-f", "{{.Id}}", name).text


def prune(daemon: Daemon, **filters: list[str]) -> dict[str, object]:
    """The API's answer."""
    path = f"/images/prune?filters={quote(json.dumps(filters))}"
    answer: dict[str, object] = daemon.http("POST", path).json()
    return answer


def blobs(daemon: Daemon) -> set[str]:
    """What lies in the content store."""
    root = daemon.data_root / "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
    return {path.name for path in root.iterdir()}


def test_dangling_only_and_all(pruning: Daemon) -> None:
    """A nameless image goes; with -a all that no container stands on; disk use is as before."""
    daemon = pruning
    before, used = blobs(daemon), daemon.docker("system", "df").text
    old = load(daemon, "moved:1", "a" * 100_000)
    load(daemon, "moved:1", "b")
    load(daemon, "kept:1", "c")
    ran = daemon.docker("image", "prune", "-f").text
    assert f"deleted: {old}" in ran
    assert "Total reclaimed space: 0B" not in ran
    assert daemon.image_names() == ["busybox:latest", "kept:1", "moved:1"]
    assert prune(daemon)["ImagesDeleted"] is None
    daemon.docker("create", "--name", "box", *NONE, "busybox", "true")
    ran = daemon.docker("image", "prune", "-af").text
    assert {"untagged: kept:1", "untagged: moved:1"} <= set(ran.splitlines())
    assert daemon.image_names() == ["busybox:latest"]
    daemon.docker("rm", "box")
    assert blobs(daemon) == before
    assert daemon.docker("system", "df").text == used


def test_a_container_keeps_its_image(pruning: Daemon) -> None:
    """By the name that it was made by, or without one; other names of it go."""
    daemon = pruning
    image_id = load(daemon, "used:1", "u")
    daemon.docker("tag", "used:1", "used:2")
    daemon.docker("create", "--name", "byname", *NONE, "used:1", "/bin/busybox")
    daemon.docker("image", "prune", "-af")
    assert "used:1" in daemon.image_names()
    assert "used:2" not in daemon.image_names()
    daemon.docker("rm", "byname")
    daemon.docker("create", "--name", "byid", *NONE, image_id, "/bin/busybox")
    daemon.docker("image", "prune", "-af")
    listed = daemon.docker("images", "-q", "--no-trunc").text.splitlines()
    assert image_id in listed
    assert "used:1" not in daemon.image_names()
    daemon.docker("start", "byid")
    daemon.docker("rm", "-f", "byid")
    daemon.docker("image", "prune", "-f")
    assert image_id not in daemon.docker("images", "-q", "--no-trunc").text
    daemon.load_image()


def test_filters(pruning: Daemon) -> None:
    """Labels, their absence, age; what is none of them is refused."""
    daemon = pruning
    load(daemon, "a:1", "a", Labels={"keep": "yes"})
    load(daemon, "b:1", "b", Labels={"keep": "no"})
    every = {"dangling": ["false"]}
    assert prune(daemon, **every, label=["keep=maybe"])["ImagesDeleted"] is None
    prune(daemon, **every, **{"label!": ["keep=yes"], "label": ["keep"]})
    assert daemon.image_names() == ["a:1", "busybox:latest"]
    assert prune(daemon, **every, until=["1970-01-02"], label=["keep"])["ImagesDeleted"] is None
    refused = daemon.http("POST", f"/images/prune?filters={quote(json.dumps({'x': ['y']}))}")
    assert (refused.status, refused.message) == (400, "invalid filter 'x'")
    freed = daemon.client().images.prune(filters={"dangling": False, "label": "keep"})
    assert {"Untagged": "a:1"} in freed["ImagesDeleted"]
    assert freed["SpaceReclaimed"] > 0
