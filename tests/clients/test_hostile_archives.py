"""Archives made to hurt, at every door: load, a layer of a load, import, build, cp.

Each is refused with a reason, or kept inside; nothing outside is written, nothing of it is left.
How far archives may expand has tests of its own, with smaller bounds (`test_compression`,
`test_unpack`).
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.containerd.ingest_leftovers import SAFE_AGE_S
from services.images.images import TIDY_EVERY_S
from tests.services.images.archives import TestImage, docker_members, tar_of
from tests.services.images.test_unpack import sparse
from tests.support.daemon import Daemon, running_daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(600)]

UP = "../" * 16
TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon of this module's own, with a container to copy into."""
    with running_daemon() as running:
        body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}
        assert running.http("POST", "/containers/create?name=box", body).status == 201
        yield running
        running.remove_containers()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a secret in it; it must stay as it is."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert secret.read_text() == "secret"
    assert secret.stat().st_nlink == 1


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **more: Any) -> bytes:
    """One member of a tar, with a few bytes if it is a file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    for field, value in more.items():
        setattr(info, field, value)
    data = b"evil".ljust(512, b"\0") if info.size else b""
    return info.tobuf(tarfile.GNU_FORMAT) + data


END = bytes(1024)
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "absolute path": lambda out: entry(f"{out}/evil") + END,
    "dots": lambda out: entry(f"{UP}{out[1:]}/evil") + END,
    "dots in the middle": lambda out: entry(f"a/{UP}{out[1:]}/evil") + END,
    "absolute symlink": lambda out: entry("l", tarfile.SYMTYPE, out) + entry("l/evil") + END,
    "symlink": lambda out: entry("l", tarfile.SYMTYPE, f"{UP}{out[1:]}") + entry("l/evil") + END,
    "file for a symlink": lambda out: (
        entry("l", tarfile.SYMTYPE, f"{out}/secret") + entry("l") + END
    ),
    "absolute hard link": lambda out: entry("h", tarfile.LNKTYPE, f"{out}/secret") + END,
    "hard link": lambda out: entry("h", tarfile.LNKTYPE, f"{UP}{out[1:]}/secret") + END,
    "hard link through a symlink": lambda out: (
        entry("l", tarfile.SYMTYPE, out) + entry("h", tarfile.LNKTYPE, "l/secret") + END
    ),
    "device": lambda _: (
        entry("d", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666)
        + entry("c", tarfile.CHRTYPE, devmajor=5, devminor=0, mode=0o666)
        + END
    ),
    "sparse": lambda _: sparse(1 << 42),
    "long name": lambda _: entry("n" * 65536) + END,
    "long path": lambda _: entry("n/" * 32768 + "n") + END,
    "duplicates": lambda _: entry("f") * 3 + entry("f", tarfile.DIRTYPE) + entry("f/f") + END,
    "truncated": lambda _: entry("f") + entry("f")[:514],
    "rubbish": lambda _: b"rubbish" * 500,
}


def load(daemon: Daemon, archive: bytes) -> Any:
    """As the archive of images itself."""
    return daemon.http("POST", "/images/load?quiet=1", archive)


def load_layer(daemon: Daemon, archive: bytes) -> Any:
    """As a layer of an image, which containerd unpacks."""
    image = TestImage(layers=[archive], tags=["hostile:1"])
    return load(daemon, tar_of(docker_members(image)))


def import_(daemon: Daemon, archive: bytes) -> Any:
    """As the files of an image."""
    return daemon.http("POST", "/images/create?fromSrc=-&repo=hostile&tag=1", archive)


def build(daemon: Daemon, archive: bytes) -> Any:
    """As a build's context, all of which is copied."""
    dockerfile = tar_of({"Dockerfile": b"FROM scratch\nCOPY . /all/\n"})[:1024]
    return daemon.http("POST", "/build?t=hostile:1", dockerfile + archive, TAR)


def copy(daemon: Daemon, archive: bytes) -> Any:
    """Into a container."""
    return daemon.http("PUT", "/containers/box/archive?path=/tmp", archive, TAR)


SPARSE_IS_WRITTEN = ("layer", "import")
"""By containerd, as far as a layer may expand: gigabytes; see `test_unpack`."""
DOORS = {"load": load, "layer": load_layer, "import": import_, "build": build, "cp": copy}


def stores(daemon: Daemon) -> dict[str, list[str]]:
    """What there is of images, blobs, snapshots, and of the folders of builds."""
    root = daemon.data_root / "containerd" / "daemon"
    folders = {
        "blobs": root / "io.containerd.content.v1.content" / "blobs" / "sha256",
        "ingests": root / "io.containerd.content.v1.content" / "ingest",
        "snapshots": root / "io.containerd.snapshotter.v1.overlayfs" / "snapshots",
        "builds": daemon.data_root / "build",
    }
    found = {what: sorted(os.listdir(path)) for what, path in folders.items() if path.is_dir()}
    found["snapshots"] = [str(len(found["snapshots"]))]
    return found | {"images": sorted(daemon.image_names())}


def error_of(answer: Any) -> str:
    """What is told of a refusal; "" for none. What begins to be answered tells it in its stream."""
    if answer.status >= 400:
        assert answer.status < 500, answer
        return str(answer.message)
    for line in answer.body.splitlines():
        said = json.loads(line) if line.strip() else {}
        if "error" in said:
            return str(said["error"])
    return ""


@pytest.mark.parametrize("door", DOORS)
def test_nothing_gets_out(daemon: Daemon, outside: Path, door: str) -> None:
    """Whatever is in it, it ends with a word to the client, and leaves no trace outside."""
    (daemon.data_root / "build").mkdir(exist_ok=True)
    before = stores(daemon)
    refused = set()
    for kind, make in HOSTILE.items():
        if kind == "sparse" and door in SPARSE_IS_WRITTEN:
            continue
        answer = DOORS[door](daemon, make(str(outside)))
        error = error_of(answer)
        assert "internal" not in error.lower(), (kind, error)
        assert not list(outside.glob("evil*")), kind
        if error:
            refused.add(kind)
        elif door != "cp":
            made = daemon.http("POST", "/containers/create", {"Image": "hostile:1", "Cmd": ["x"]})
            assert made.status == 201, (kind, made, answer.body[-300:])
            taken = daemon.http("GET", f"/containers/{made.json()['Id']}/archive?path=/")
            with tarfile.open(fileobj=io.BytesIO(taken.body)) as files:
                contents = [files.extractfile(m) for m in files.getmembers() if m.isfile()]
                assert all(f is None or f.read() != b"secret" for f in contents), kind
            assert daemon.http("DELETE", f"/containers/{made.json()['Id']}").status == 204
            assert daemon.http("DELETE", "/images/hostile:1").status == 200
            daemon.http("POST", "/build/prune")
    always = {"truncated", "rubbish", "long name", "long path"}
    assert refused >= always, always - refused
    assert "sparse" in refused or door in SPARSE_IS_WRITTEN
    # A folder that containerd itself leaves for good is taken away when it has rested for a minute.
    limit_s = SAFE_AGE_S + TIDY_EVERY_S + 120
    wait_until(lambda: stores(daemon) == before, "nothing is left", limit_s=limit_s)
