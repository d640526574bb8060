"""COPY and ADD with what BuildKit brought: --parents, --exclude, --link, --unpack, repositories."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.clients.building import (
    build,
    build_files,
    git_served,
    make_repository,
    no_images,
    run,
    served,
)
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]
__all__ = ["no_images"]


def archive(name: str, content: str) -> bytes:
    """A compressed tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def files_in(daemon: Daemon, image: str, folder: str) -> list[str]:
    """The files below a folder of an image, from there."""
    shown = run(daemon, image, "sh", "-c", f"cd {folder} && find . -type f | sort")
    return [line.removeprefix("./") for line in shown.split()]


def test_parts_of_trees(daemon: Daemon) -> None:
    """--parents with a pivot and wild, from the context and a stage; --exclude; what counts."""
    dockerfile = (
        "FROM busybox AS s\n"
        "ARG MD=*.md\n"
        "COPY --parents x/a.txt ./x/./y/*.txt **/deep.* /p/\n"
        "COPY --exclude=$MD --exclude=y/z x /e/\n"
        "ADD --exclude=** --exclude=!y/* --link x /l\n"
        "FROM busybox\n"
        "COPY --from=s --parents --chown=7 --exclude=a.txt /p/./x /p/y/./b.txt /q/\n"
    )
    files = {
        "Dockerfile": dockerfile, "x/a.txt": "a", "x/a.md": "m", "x/y/b.txt": "b",
        "x/y/z/deep.c": "c", "w/b.txt": "w",
    }  # fmt: skip
    build_files(daemon, files, "-t", "s", "--target", "s")
    assert files_in(daemon, "s", "/p") == ["x/a.txt", "x/y/z/deep.c", "y/b.txt"]
    assert files_in(daemon, "s", "/e") == ["a.txt", "y/b.txt"]
    assert files_in(daemon, "s", "/l") == ["y/b.txt", "y/z/deep.c"]
    build_files(daemon, files, "-t", "q")
    assert files_in(daemon, "q", "/q") == ["b.txt", "x/a.txt", "x/y/z/deep.c"]
    owners = run(daemon, "q", "stat", "-c", "%u:%g", "/q/x", "/q/x/y/z/deep.c")
    assert owners.split() == ["7:7", "7:7"]
    unseen = {**files, "x/a.md": "other", "w/b.txt": "other"}
    assert build_files(daemon, unseen).text.count("Using cache") == 4
    failed = build(daemon, "FROM busybox\nCOPY --parents no/x /\n", code=1)
    assert "file not found in build context" in failed.error_text


def test_archives_and_repositories(daemon: Daemon, tmp_path: Path) -> None:
    """--unpack for both kinds of archives; a repository at a ref, in a directory, checked."""
    packed = archive("in", "archive")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/far.tgz").write_bytes(packed)
    commit = make_repository(
        tmp_path / "site/r.git", {"d/f": "f", "d/g.md": "g", "top": "t"}, tag="v1"
    )
    with served(tmp_path / "site") as port, git_served(tmp_path / "site") as git_port:
        repository = f"git://127.0.0.1:{git_port}/r.git"
        dockerfile = (
            "FROM busybox\n"
            "ADD --unpack=false near.tgz /packed/\n"
            "ADD near.tgz /near/\n"
            f"ADD --unpack http://127.0.0.1:{port}/far.tgz /far/\n"
            f"ADD http://127.0.0.1:{port}/far.tgz /packed/\n"
            f"ADD --exclude=*.md {repository}#v1:d /repository/\n"
            f"ADD --keep-git-dir=true --checksum={commit} {repository} /kept\n"
        )
        files: dict[str, str | bytes] = {"Dockerfile": dockerfile, "near.tgz": packed}
        build_files(daemon, files, "-t", "a")
        again = build_files(daemon, files).text
        failed = build(daemon, f"FROM busybox\nADD --checksum=abc {repository} /k\n", code=1)
    assert again.count("Using cache") == 6
    assert files_in(daemon, "a", "/packed") == ["far.tgz", "near.tgz"]
    assert files_in(daemon, "a", "/near") == files_in(daemon, "a", "/far") == ["in"]
    assert files_in(daemon, "a", "/repository") == ["f"]
    kept = files_in(daemon, "a", "/kept")
    assert {"d/f", "top", ".git/HEAD"} <= set(kept)
    assert f"expected checksum to match abc, got {commit}" in failed.error_text


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ADD --parents a /", "parse error on line 2: unknown flag: parents"),
        ("COPY --unpack a /", "parse error on line 2: unknown flag: unpack"),
        ("COPY --parents=maybe a /", "expecting boolean value for flag parents, not: maybe"),
        ("COPY --exclude a /", "parse error on line 2: missing a value on flag: exclude"),
        ("COPY --link --link a /", "parse error on line 2: duplicate flag specified: link"),
        ("COPY --exclude=a[ Dockerfile /", "syntax error in pattern: a[ (line 2"),
    ],
)
def test_refusals_name_the_line(daemon: Daemon, line: str, error: str) -> None:
    """In BuildKit's words."""
    assert error in build(daemon, f"FROM busybox\n{line}\n", code=1).error_text
