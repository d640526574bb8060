"""`docker system df`: images, containers and volumes, shared layers counted once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.services.images.archives import TestImage, busybox_layer, docker_members, layer_with
from tests.services.images.archives import tar_of as tar
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
WRITTEN_BYTES = 1_000_000


@pytest.fixture(scope="module")
def measured() -> Iterator[Daemon]:
    """Two images that share a layer, one of them in use; a container; a volume."""
    with running_daemon(image=False) as daemon:
        layers = [busybox_layer(), layer_with(big="x" * 500_000)]
        images = (
            TestImage(layers=layers[:1], tags=["one:1"]),
            TestImage(layers=layers, tags=["two:1"]),
        )
        daemon.docker("load", stdin=tar(docker_members(*images)))
        write = f"/bin/busybox head -c {WRITTEN_BYTES} /dev/zero >/f; cp() {{ :; }}"
        run = ("run", "--name", "box", *NONE, "-v", "data:/data", "one:1")
        daemon.docker(*run, "/bin/sh", "-c", write)
        yield daemon


def test_summary(measured: Daemon) -> None:
    """As the CLI counts it."""
    lines = measured.docker(
        "system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}"
    ).text.splitlines()
    assert lines == ["Images|2|1", "Containers|1|0", "Local Volumes|1|1", "Build Cache|0|0"]
    assert "one" in measured.docker("system", "df", "-v").text


def test_the_numbers(measured: Daemon) -> None:
    """A shared layer counts once; what one image has alone can be reclaimed."""
    usage = measured.http("GET", "/v1.47/system/df").json()
    one, two = sorted(usage["Images"], key=lambda image: image["Size"])
    assert one["SharedSize"] == two["SharedSize"] > 0
    assert usage["LayersSize"] < one["Size"] + two["Size"]
    assert usage["LayersSize"] >= two["Size"]
    assert (one["Containers"], two["Containers"]) == (1, 0)
    reclaimable = usage["ImageUsage"]["Reclaimable"]
    assert 500_000 < reclaimable < usage["LayersSize"] - one["SharedSize"]
    (container,) = usage["Containers"]
    assert container["SizeRw"] >= WRITTEN_BYTES
    assert usage["ContainerUsage"]["Reclaimable"] == container["SizeRw"]
    (volume,) = usage["Volumes"]
    assert volume["UsageData"]["RefCount"] == 1
    assert usage["BuildCache"] == []


def test_types_and_verbose(measured: Daemon) -> None:
    """Only what was asked for; the objects themselves only if wanted."""
    chosen = measured.http("GET", "/system/df?type=image&type=volume&verbose=0").json()
    assert set(chosen) == {"ImageUsage", "VolumeUsage"}
    assert "Items" not in chosen["ImageUsage"]
    verbose = measured.http("GET", "/system/df?type=container&verbose=true").json()
    assert len(verbose["ContainerUsage"]["Items"]) == 1
    assert measured.http("GET", "/system/df?type=x").status == 400
    assert measured.http("GET", "/system/df?verbose=x").status == 400
    assert json.dumps(measured.client().df()["Images"])
