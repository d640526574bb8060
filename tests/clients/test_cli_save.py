"""`docker save`: what is in the archive, who can read it, and docker-py."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.images.archives import (
    TestImage,
    busybox_layer,
    layer_with,
    oci_members,
    tar_of,
)
from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


@pytest.fixture(scope="module")
def saving() -> Iterator[Daemon]:
    """A daemon with one image under two names and another one that shares a layer with it."""
    with running_daemon(image=False) as daemon:
        one = TestImage(layers=[busybox_layer()], tags=["one:1", "one:2"])
        two = TestImage(layers=[busybox_layer(), layer_with(a="b")], tags=["two:latest"])
        daemon.docker("load", stdin=tar_of(oci_members(one, two)))
        yield daemon


def members(data: bytes) -> dict[str, bytes]:
    """The files in an archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def test_both_formats_in_one(saving: Daemon) -> None:
    """An OCI layout and docker's listing; each blob once, under its digest; names in both."""
    files = members(saving.docker("save", "one", "two:latest").out)
    blobs = [name for name in files if name.startswith("blobs/")]
    for name in blobs:
        assert hashlib.sha256(files[name]).hexdigest() == name.rpartition("/")[2]
    assert set(files) - set(blobs) == {"index.json", "manifest.json", "oci-layout"}
    index = json.loads(files["index.json"])["manifests"]
    names = [line["annotations"]["io.containerd.image.name"] for line in index]
    assert names == [f"docker.io/library/{n}" for n in ("one:1", "one:2", "two:latest")]
    listing = json.loads(files["manifest.json"])
    assert [line["RepoTags"] for line in listing] == [["one:1", "one:2"], ["two:latest"]]
    assert all(path in files for line in listing for path in (line["Config"], *line["Layers"]))


def test_what_is_saved_is_loaded(saving: Daemon, tmp_path: Path) -> None:
    """The same images under the same names and IDs; by ID without a name."""
    ids = saving.docker("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}").text
    image_id = saving.docker("inspect", "-f", "{{.Id}}", "two").text
    saving.docker("save", "-o", str(tmp_path / "all.tar"), "one", "two")
    nameless = saving.docker("save", image_id).out
    saving.docker("rmi", "one:1", "one:2", "two")
    assert saving.docker("images", "-q").text == ""
    loaded = saving.docker("load", stdin=nameless).text
    assert loaded.splitlines()[-1] == f"Loaded image ID: {image_id}"
    saving.docker("load", "-i", str(tmp_path / "all.tar"))
    assert saving.docker("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}").text == ids
    run = ("run", "--rm", "--network", "none", "one:2", "/bin/busybox", "cat", "/etc/passwd")
    assert saving.docker(*run).text.startswith("root")


def test_other_tools_read_it(saving: Daemon, tmp_path: Path) -> None:
    """ctr imports it."""
    if shutil.which("ctr") is None:
        pytest.skip("needs ctr")
    saving.docker("save", "-o", str(tmp_path / "two.tar"), "two")
    socket = saving.exec_root / "containerd" / "containerd.sock"
    command = [
        "ctr",
        "-a",
        str(socket),
        "-n",
        "other",
        "images",
        "import",
        str(tmp_path / "two.tar"),
    ]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=90)
    assert "docker.io/library/two:latest" in done.stdout


def test_refusals(saving: Daemon) -> None:
    """An unknown name, a platform that the image does not have: no archive, dockerd's words."""
    assert "No such image: nosuch:latest" in saving.docker("save", "nosuch", code=1).error_text
    ran = saving.docker("save", "--platform", "linux/arm64", "one:1", code=1)
    assert "does not provide the specified platform (linux/arm64)" in ran.error_text
    assert members(saving.docker("save", "--platform", "linux/amd64", "one:1").out)


def test_docker_py_and_events(saving: Daemon) -> None:
    """Image.save with its name, and the event that tells of it."""
    image = saving.client().images.get("two")
    files = members(b"".join(image.save(named=True)))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == ["two:latest"]
    loaded = saving.client().images.load(saving.docker("save", "two").out)
    assert [one.id for one in loaded] == [image.id]
    told = saving.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    assert ("save", image.id) in [(event["Action"], event["Actor"]["ID"]) for event in told]
