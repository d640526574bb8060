"""`docker import`: from a stream and from a URL, in every compression, with changes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zstandard

from tests.services.images.archives import busybox_layer
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Says nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_streams_and_changes(daemon: Daemon) -> None:
    """One layer whose content is that of the tar, however it was compressed."""
    layers = set()
    for name, compress in COMPRESSIONS.items():
        changes = ("-c", 'CMD ["/bin/sh","-c","echo ran"]', "-m", "why")
        image = daemon.docker(
            "import", *changes, "-", f"made:{name}", stdin=compress(busybox_layer())
        )
        shown = json.loads(daemon.docker("inspect", f"made:{name}").out)[0]
        assert (shown["Id"], shown["Comment"]) == (image.text, "why")
        layers.add(tuple(shown["RootFS"]["Layers"]))
    assert len(layers) == 1
    assert daemon.docker("run", "--rm", "--network", "none", "made:xz").text == "ran"
    daemon.docker("rmi", *(f"made:{name}" for name in COMPRESSIONS))


def test_urls(daemon: Daemon, tmp_path: Path) -> None:
    """Fetched by the daemon, with its progress; what cannot be fetched is told."""
    (tmp_path / "files.tar").write_bytes(busybox_layer())
    with served(tmp_path) as url:
        ran = daemon.docker("import", "--platform", "linux/arm64", f"{url}/files.tar", "made:url")
        assert "Downloading from http://" in ran.text + ran.error_text
        failed = daemon.docker("import", f"{url}/nosuch.tar", code=1)
    assert "404" in failed.error_text
    assert daemon.docker("inspect", "made:url", "-f", "{{.Architecture}}").text == "arm64"
    daemon.docker("rmi", "made:url")
    failed = daemon.docker("import", f"{url}/files.tar", code=1)
    assert f'Get "{url}/files.tar"' in failed.error_text


def test_refusals_leave_nothing(daemon: Daemon) -> None:
    """A damaged archive, a bad change, a bad name: 400, and no image."""
    good = busybox_layer()
    for stdin, arguments, words in (
        (gzip.compress(good)[:-500], ("-",), "failed to decompress"),
        (b"junk" * 1000, ("-",), ""),
        (good, ("-c", "RUN x", "-"), "RUN is not a valid change command"),
        (good, ("-", "Upper"), "must be lowercase"),
    ):
        failed = daemon.docker("import", *arguments, stdin=stdin, code=1)
        assert words in failed.error_text
    assert daemon.docker("images", "-aq").text.count("\n") == 0


def test_docker_py(daemon: Daemon) -> None:
    """import_image_from_data."""
    line = json.loads(daemon.client().api.import_image_from_data(busybox_layer(), "made", "py"))
    assert line["status"].startswith("sha256:")
    daemon.docker("rmi", "made:py")


def test_nothing_at_all(daemon: Daemon) -> None:
    """An image without files, as under dockerd: it is listed, saved and loaded like another."""
    daemon.docker("import", "-", "made:empty", stdin=b"")
    shown = daemon.docker("inspect", "made:empty", "-f", "{{.RootFS.Layers}}").text
    assert shown == f"[sha256:{hashlib.sha256().hexdigest()}]"
    saved = daemon.docker("save", "made:empty").out
    daemon.docker("rmi", "made:empty")
    assert "made:empty" in daemon.docker("load", stdin=saved).text
    daemon.docker("create", "--name", "empty", "made:empty", "/none")
    assert daemon.docker("export", "empty").out
    daemon.docker("rm", "empty")
    daemon.docker("rmi", "made:empty")


def test_what_is_no_tar(daemon: Daemon, tmp_path: Path) -> None:
    """The client hears what is wrong with it, and nothing of where containerd had it."""
    archive = tmp_path / "x"
    archive.write_bytes(b"no tar at all\n" * 100)
    ran = daemon.docker("import", str(archive), "x", code=1)
    assert ran.err.decode().endswith("archive/tar: invalid tar header\n"), ran.err
    assert "mount" not in ran.err.decode()
