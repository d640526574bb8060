"""Images of several platforms: shown, made containers of, saved, loaded and removed one by one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.clients.cli import NONE, refusal
from tests.services.images.archives import TestImage, busybox_layer, index_members, layer_with
from tests.services.images.archives import tar_of as tar
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

ARCHITECTURES = ("amd64", "arm64", "s390x")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon of this module's own."""
    with running_daemon(image=False) as running:
        yield running


@pytest.fixture
def multi(daemon: Daemon) -> Iterator[str]:
    """An image of three platforms, one of them this machine's; nothing is left after a test."""
    images = [
        TestImage(layers=[busybox_layer(), layer_with(which=name)], architecture=name)
        for name in ARCHITECTURES
    ]
    daemon.docker("load", stdin=tar(index_members("multi:1", *images)))
    yield "multi:1"
    daemon.remove_containers()
    daemon.docker("image", "prune", "-af")


def wire(name: str) -> str:
    """A platform as the API wants it."""
    return quote(json.dumps({"os": "linux", "architecture": name}))


def manifests(daemon: Daemon, image: str) -> dict[str, dict[str, Any]]:
    """The manifests that an inspect shows, by architecture."""
    found = daemon.http("GET", f"/images/{image}/json?manifests=1").json()["Manifests"]
    return {one["Descriptor"]["platform"]["architecture"]: one for one in found}


def here(daemon: Daemon, image: str) -> list[str]:
    """The architectures whose content is here."""
    return [name for name, one in manifests(daemon, image).items() if one["Available"]]


def which(daemon: Daemon, container: str) -> str:
    """What the file says that each platform has a text of its own in."""
    packed = daemon.docker("cp", f"{container}:/which", "-").out
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        file = archive.extractfile("which")
        assert file is not None
        return file.read().decode()


def test_each_platform_is_shown(daemon: Daemon, multi: str) -> None:
    """Its configuration, its layers, its steps; one that is not there is not found."""
    own = daemon.http("GET", f"/images/{multi}/json").json()
    (shown,) = json.loads(
        daemon.docker("image", "inspect", "--platform", "linux/arm64", multi).text
    )
    assert (own["Architecture"], shown["Architecture"]) == ("amd64", "arm64")
    assert shown["Id"] == manifests(daemon, multi)["arm64"]["ID"]
    assert shown["RootFS"]["Layers"][1] != own["RootFS"]["Layers"][1]
    assert shown["RepoTags"] == [multi]
    assert daemon.docker("history", "-q", "--platform", "linux/s390x", multi).text
    said = refusal(daemon, "history", "--platform", "linux/riscv64", multi)
    assert "does not provide the specified platform (linux/riscv64)" in said


def test_a_container_of_another_platform(daemon: Daemon, multi: str) -> None:
    """It has that platform's files, says so, and what is committed of it is of that platform."""
    daemon.docker("create", "--name", "arm", *NONE, "--platform", "linux/arm64", multi)
    daemon.docker("create", "--name", "own", *NONE, multi)
    assert (which(daemon, "arm"), which(daemon, "own")) == ("arm64", "amd64")
    found = daemon.http("GET", "/containers/arm/json").json()
    assert found["ImageManifestDescriptor"]["platform"]["architecture"] == "arm64"
    assert found["Image"] == daemon.http("GET", f"/images/{multi}/json").json()["Id"]
    users = {n: one["ImageData"]["Containers"] for n, one in manifests(daemon, multi).items()}
    assert users["arm64"] == [found["Id"]]
    assert len(users["amd64"]) == 1
    daemon.docker("commit", "arm", "committed:1")
    committed = daemon.http("GET", "/images/committed:1/json").json()
    assert (committed["Architecture"], committed["Os"]) == ("arm64", "linux")
    warned = daemon.docker("create", *NONE, "committed:1").error_text
    assert "image's platform (linux/arm64) does not match the detected host platform" in warned


def test_a_build_on_another_platform(daemon: Daemon, multi: str) -> None:
    """--platform for the build, and of one FROM for its stage."""
    dockerfile = f"""
FROM --platform=linux/arm64 {multi} AS arm
FROM {multi}
COPY --from=arm /which /arm
COPY --from={multi} /which /other
""".encode()
    context = tar({"Dockerfile": dockerfile})
    build = ("build", "-q", "-t", "built:1", "--platform", "linux/s390x", "-")
    daemon.docker(*build, stdin=context)
    assert daemon.http("GET", "/images/built:1/json").json()["Architecture"] == "s390x"
    daemon.docker("create", "--name", "box", *NONE, "built:1")
    for name, text in (("arm", "arm64"), ("other", "s390x"), ("which", "s390x")):
        packed = daemon.docker("cp", f"box:/{name}", "-").out
        assert text.encode() in packed, name


def test_some_platforms_of_an_archive(daemon: Daemon, multi: str) -> None:
    """Two of three are saved, under the same ID; of those one is loaded; a third is refused."""
    image_id = daemon.http("GET", f"/images/{multi}/json").json()["Id"]
    two = f"platform={wire('amd64')}&platform={wire('s390x')}"
    saved = daemon.http("GET", f"/images/{multi}/get?{two}")
    all_three = daemon.http("GET", f"/images/{multi}/get")
    assert saved.status == 200
    daemon.docker("rmi", multi)
    refused = load(daemon, saved.body, "arm64", "amd64")
    assert "doesn't provide the requested platform (linux/arm64)" in refused
    assert daemon.image_names() == []
    assert "error" not in load(daemon, saved.body)
    assert here(daemon, multi) == ["amd64", "s390x"]
    assert daemon.http("GET", f"/images/{multi}/json").json()["Id"] == image_id
    daemon.docker("rmi", multi)
    assert "error" not in load(daemon, all_three.body, "arm64", "s390x")
    assert here(daemon, multi) == ["arm64", "s390x"]
    missing = daemon.http("GET", f"/images/{multi}/get?platform={wire('amd64')}&{two}")
    assert missing.status == 404


def load(daemon: Daemon, archive: bytes, *platforms: str) -> str:
    """`docker load` of these platforms; what is told of it."""
    query = "&".join(f"platform={wire(name)}" for name in platforms)
    return daemon.http("POST", f"/images/load?{query}", archive).body.decode()


def test_a_platform_is_removed_alone(daemon: Daemon, multi: str) -> None:
    """Its content goes, unless another image has it too; a container stands in the way."""
    daemon.docker("create", "--name", "arm", *NONE, "--platform", "linux/arm64", multi)
    of_arm = manifests(daemon, multi)["arm64"]["ID"]
    path = f"/images/{multi}?platforms={wire('arm64')}&platforms={wire('s390x')}"
    refused = daemon.http("DELETE", path)
    assert refused.status == 409
    assert "(must be forced) - container" in refused.message
    assert here(daemon, multi) == list(ARCHITECTURES)
    removed = daemon.http("DELETE", f"{path}&force=1")
    assert {"Deleted": of_arm} in removed.json()
    assert here(daemon, multi) == ["amd64"]
    assert daemon.http("DELETE", path).status == 404
    assert which(daemon, "arm") == "arm64"  # its files are its own
    assert daemon.docker("run", "--rm", *NONE, multi, "busybox", "cat", "/which").text == "amd64"
    assert daemon.http("GET", f"/images/{multi}/get?platform={wire('amd64')}").status == 200
    single = TestImage(layers=[busybox_layer()], tags=["single:1"])
    daemon.docker("load", stdin=tar(index_members("single:1", single)))
    manifest = manifests(daemon, "single:1")["amd64"]["ID"]
    packed = daemon.http("GET", f"/images/single:1/get?platform={wire('amd64')}").body
    assert "error" not in load(daemon, packed)  # the manifest is now an image too
    alone = daemon.http("DELETE", f"/images/{manifest}?platforms={wire('amd64')}")
    assert alone.status == 409
