"""`docker images` with every filter, `docker history`, `docker rmi`, and attestations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.images.archives import (
    TestImage,
    busybox_layer,
    digest_of,
    docker_members,
    layer_with,
    oci_members,
)
from tests.services.images.archives import tar_of as tar
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
KIND = "https://slsa.dev/provenance/v0.2"


@pytest.fixture(scope="module")
def stocked() -> Iterator[Daemon]:
    """Images of different ages and labels, one of them without a name."""
    with running_daemon(image=False) as daemon:
        for year, name, labels in (
            (2001, "old:1", {"age": "old"}),
            (2010, "mid:1", {}),
            (2020, "team/new:1", {"age": "new"}),
            (2021, "moved:1", {}),
            (2022, "moved:1", {}),
        ):
            load(daemon, year, name, labels)
        yield daemon


def load(daemon: Daemon, year: int, name: str, labels: dict[str, str]) -> None:
    """An image of that age."""
    image = TestImage(
        layers=[busybox_layer(), layer_with(year=str(year))],
        tags=[name],
        created=f"{year}-01-01T00:00:00Z",
        config={"Labels": labels},
    )
    daemon.docker("load", stdin=tar(docker_members(image)))


def names(daemon: Daemon, *arguments: str) -> list[str]:
    """What `docker images` shows, newest first."""
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    return daemon.docker("images", *arguments, *form).text.splitlines()


def test_filters(stocked: Daemon) -> None:
    """Alone and together."""
    every = ["moved:1", "<none>:<none>", "team/new:1", "mid:1", "old:1"]
    for arguments, shown in (
        (("-a",), every),
        (("-f", "dangling=true"), ["<none>:<none>"]),
        (("-f", "before=mid:1"), ["old:1"]),
        (("-f", "since=mid:1", "-f", "dangling=false"), ["moved:1", "team/new:1"]),
        (("-f", "until=2005-01-01"), ["old:1"]),
        (("-f", "label=age"), ["team/new:1", "old:1"]),
        (("-f", "label=age=new"), ["team/new:1"]),
        (("-f", "reference=*:1", "-f", "label=age"), ["old:1"]),
        (("-f", "reference=team/*"), ["team/new:1"]),
        (("team/new",), ["team/new:1"]),
    ):
        assert names(stocked, *arguments) == shown, arguments
    assert "No such image" in stocked.docker("images", "-f", "before=nope", code=1).error_text


def test_digests_shared_sizes_and_manifests(stocked: Daemon) -> None:
    """What else a list can tell."""
    listed = stocked.docker("images", "--digests", "--format", "{{.Digest}}", "old").text
    assert listed == stocked.docker("inspect", "-f", "{{.Id}}", "old:1").text
    summaries = stocked.http("GET", "/images/json?shared-size=1&manifests=1").json()
    assert len({summary["SharedSize"] for summary in summaries}) == 1
    assert summaries[0]["SharedSize"] > 0
    assert all(len(summary["Manifests"]) == 1 for summary in summaries)
    shown = stocked.http("GET", "/images/old:1/json?manifests=1").json()
    assert shown["Manifests"][0]["ImageData"]["Platform"]["os"] == "linux"
    steps = stocked.docker("history", "-q", "--no-trunc", "old:1").text.splitlines()
    assert steps == [shown["Id"], "<missing>"]


def test_removal(stocked: Daemon) -> None:
    """By name, by ID with several names, of images in use: dockerd's words."""
    daemon = stocked
    load(daemon, 2015, "gone:1", {})
    daemon.docker("tag", "gone:1", "other:1")
    image_id = daemon.docker("inspect", "-f", "{{.Id}}", "gone:1").text
    short = image_id.partition(":")[2][:12]
    several = daemon.docker("rmi", short, code=1).error_text
    assert "image is referenced in multiple repositories" in several
    assert daemon.docker("rmi", "other:1").text == "Untagged: other:1"
    container = daemon.docker("create", *NONE, "gone:1", "/bin/busybox", "sleep", "1000").text
    used = daemon.docker("rmi", "gone:1", code=1).error_text
    assert f"container {container[:12]} is using its referenced image {short}" in used
    assert "(must be forced)" in used
    daemon.docker("start", container)
    running = daemon.docker("rmi", "-f", short, code=1).error_text
    assert f"image is being used by running container {container[:12]}" in running
    assert daemon.docker("rmi", "-f", "gone:1").text == "Untagged: gone:1"
    assert image_id in daemon.docker("images", "-q", "--no-trunc").text
    daemon.docker("rm", "-f", container)
    assert f"Deleted: {image_id}" in daemon.docker("rmi", short).text


def attested() -> bytes:
    """An archive with an index: an image, and a statement about it."""
    members: dict[str, Any] = oci_members(TestImage(layers=[busybox_layer()], tags=["x:1"]))
    outer = json.loads(members["index.json"])
    own = {k: v for k, v in outer["manifests"][0].items() if k != "annotations"}
    own["platform"] = {"os": "linux", "architecture": "amd64"}

    def put(document: object) -> dict[str, Any]:
        data = json.dumps(document).encode()
        members[f"blobs/sha256/{digest_of(data)[7:]}"] = data
        return {"digest": digest_of(data), "size": len(data)}

    statement = put({"predicateType": KIND, "subject": []})
    config = put({"architecture": "unknown", "os": "unknown", "config": {},
                  "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]}})  # fmt: skip
    kind = {"in-toto.io/predicate-type": KIND}
    manifest = "application/vnd.oci.image.manifest.v1+json"
    about = put(
        {
            "schemaVersion": 2,
            "mediaType": manifest,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [
                {"mediaType": "application/vnd.in-toto+json", **statement, "annotations": kind}
            ],
        }
    )
    marks = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": own["digest"],
    }
    unknown = {"os": "unknown", "architecture": "unknown"}
    attestation = {"mediaType": manifest, **about, "annotations": marks, "platform": unknown}
    index = "application/vnd.oci.image.index.v1+json"
    inner = put({"schemaVersion": 2, "mediaType": index, "manifests": [own, attestation]})
    name = {"io.containerd.image.name": "docker.io/library/attested:1"}
    outer["manifests"] = [{"mediaType": index, **inner, "annotations": name}]
    members["index.json"] = json.dumps(outer).encode()
    return tar(members)


def test_attestations(stocked: Daemon) -> None:
    """The statements about this machine's manifest, chosen by type; their text if wanted."""
    stocked.docker("load", stdin=attested())
    path = "/images/attested:1/attestations"
    (found,) = stocked.http("GET", path).json()
    assert (found["PredicateType"], "Statement" in found) == (KIND, False)
    (found,) = stocked.http("GET", f"{path}?statement=1&type={KIND}").json()
    assert found["Statement"] == {"predicateType": KIND, "subject": []}
    assert stocked.http("GET", f"{path}?type=other").json() == []
    assert stocked.http("GET", "/images/old:1/attestations").json() == []
    arm = "%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D"
    assert stocked.http("GET", f"{path}?platform={arm}").status == 404
    assert stocked.http("GET", "/images/nosuch/attestations").status == 404
    stocked.docker("rmi", "attested:1")
