"""Builds by the docker CLI, from contexts that are made up."""

from __future__ import annotations

import io
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Ran, wait_until
from tests.support.ports import free_port


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


def make_repository(folder: Path, files: Mapping[str, str], *, tag: str) -> str:
    """A git repository with one commit; its name."""
    folder.mkdir()
    git = ("git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e")
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    subprocess.run([*git, "tag", tag], check=True)
    return subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """A web server; its port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def git_served(folder: Path) -> Iterator[int]:
    """A server of git repositories; its port."""
    port = free_port()
    words = ("git", "daemon", "--reuseaddr", f"--port={port}", "--listen=127.0.0.1")
    command = [*words, "--export-all", f"--base-path={folder}", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: can_connect(port), "git is served")
            yield port
        finally:
            process.terminate()


def can_connect(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
