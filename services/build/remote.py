"""A context that is elsewhere: an archive or a Dockerfile behind a URL, or a git repository.

Source: Engine API, ImageBuild, parameter `remote`; moby, builder/remotecontext.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from services.errors import EngineError, InvalidParameter

GIT_LIMIT_S: Final = 600.0
_GIT: Final = re.compile(
    r"(?:git://|git@|ssh://git@|github\.com/)|https?://[^#]*\.git(?:#.*)?\Z", re.ASCII
)
_REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_SCHEMES: Final = ("http://", "https://", "git://", "ssh://", "git@")

# Nothing that a repository or the machine's settings say may run a program or read a file here.
_SAFE: Final = (
    *("-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=never"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.symlinks=true"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A repository, what of it to check out ("" is its default branch), and a directory in it."""

    url: str
    ref: str = ""
    directory: str = ""


def parse_git(remote: str) -> GitSource | None:
    """The repository that `remote` names; None if it is a plain URL.

    Raises:
        InvalidParameter: a ref that is none, or a scheme that is not allowed.
    """
    if not _GIT.match(remote):
        return None
    url, _, fragment = remote.partition("#")
    if url.startswith("github.com/"):
        url = f"https://{url}"
    ref, _, directory = fragment.partition(":")
    if not url.startswith(_SCHEMES):
        raise InvalidParameter(f"invalid git URL: {remote}")
    if ref and not _REF.fullmatch(ref):
        raise InvalidParameter(f"invalid git reference: {ref}")
    return GitSource(url=url, ref=ref, directory=directory)


async def check_out(source: GitSource, directory: Path, *, keeps_repository: bool = False) -> str:
    """Fetch the one commit that is asked for into `directory`, which is empty; without its history.

    With `keeps_repository` the .git stays. The commit's name is returned.

    Raises:
        EngineError: git is missing, or says no; its words.
    """
    if shutil.which("git") is None:
        raise EngineError("building from a git repository needs the program git, which is missing")
    with trio.move_on_after(GIT_LIMIT_S) as limit:
        await _git(directory, "init", "--quiet", "--template=")
        await _git(
            directory, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
            "--", source.url, source.ref or "HEAD",
        )  # fmt: skip
        await _git(directory, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        commit = await _git(directory, "rev-parse", "HEAD")
        if not keeps_repository:
            await trio.to_thread.run_sync(shutil.rmtree, directory / ".git")
    if limit.cancelled_caught:
        raise EngineError(f"fetching {source.url} took longer than {GIT_LIMIT_S:g} s")
    return commit.strip()


async def _git(directory: Path, *words: str) -> str:
    """What it says."""
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",  # a repository may hold a .gitconfig
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    ended = await trio.run_process(
        ["git", *_SAFE, "-C", str(directory), *words],
        env=environment,
        stdin=b"",
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if ended.returncode != 0:
        reason = ended.stderr.decode(errors="replace").strip()
        raise EngineError(f"unable to prepare context: git {words[0]}: {reason}")
    return ended.stdout.decode(errors="replace")
