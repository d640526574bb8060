"""Builds by the docker CLI, from contexts that are made up."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping

import pytest

from tests.support.daemon import Daemon, Ran


@pytest.fixture(autouse=True)
def no_images(daemon: Daemon) -> Iterator[None]:
    """Every image and every step of a test goes with it; what others have left goes before."""
    clear(daemon)
    yield
    daemon.remove_containers()
    clear(daemon)


def clear(daemon: Daemon) -> None:
    """Remove all images but busybox, and all steps of builds."""
    for image in daemon.http("GET", "/images/json").json():
        if image["RepoTags"] != ["busybox:latest"]:
            daemon.http("DELETE", f"/images/{image['Id']}?force=1")
    assert daemon.http("POST", "/build/prune").status == 200


def context(files: Mapping[str, str | bytes]) -> bytes:
    """A tar of files; a name that ends with "@" is a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.rstrip("@"))
            info.mode = 0o644
            if name.endswith("@"):
                info.type, info.linkname = tarfile.SYMTYPE, str(content)
                tar.addfile(info)
                continue
            data = content if isinstance(content, bytes) else content.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def build(
    daemon: Daemon, dockerfile: str, *words: str, code: int | None = 0, **files: str | bytes
) -> Ran:
    """`docker build` of a context from standard input."""
    return build_files(daemon, {"Dockerfile": dockerfile, **files}, *words, code=code)


def build_files(
    daemon: Daemon, files: Mapping[str, str | bytes], *words: str, code: int | None = 0
) -> Ran:
    """The same of files whose names are any."""
    return daemon.docker("build", *words, "-", stdin=context(files), code=code)


def run(daemon: Daemon, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """The output of a container of an image."""
    return daemon.docker("run", "--rm", "--network", "none", *options, image, *words).text
