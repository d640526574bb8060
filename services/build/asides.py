"""Files that a COPY or ADD takes from elsewhere than the context or an image: downloads, git
repositories, here-documents. They are put aside for the time of the build.

Source: Docker documentation, "Dockerfile reference", ADD; BuildKit,
frontend/dockerfile/dockerfile2llb/convert_copy.go.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from services.dockerfile import ExpansionError, Heredoc, expand_raw
from services.errors import InvalidParameter
from services.images.download import download
from services.images.instructions import Scope

from .context import BuildContext, directory_in
from .remote import GitSource, check_out, parse_git

MAX_DOWNLOAD_BYTES: Final = 1 << 36
URL: Final = re.compile(r"https?://")
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DOWNLOAD_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A file that is not of the context: a download or a here-document. `name` is what it is called
    where it is copied to; of a directory the content is, whose name means nothing."""

    path: Path
    name: str
    digest: str
    is_directory: bool = False
    is_unpacked: bool = False  # where it is copied to, if it is an archive


async def put_document(
    document: Heredoc, scope: Scope, context: BuildContext, disk: trio.CapacityLimiter
) -> Aside:
    """A here-document, its variables replaced. Raises InvalidParameter."""
    text = document.content
    if document.expands:
        try:
            text = expand_raw(text, scope.variables, escape=scope.escape)
        except ExpansionError as error:
            raise InvalidParameter(str(error)) from error
    data = text.encode("utf-8", "surrogateescape")
    put = partial(context.put_aside, data)
    path = await trio.to_thread.run_sync(put, limiter=disk)
    return Aside(path=path, name=document.name, digest=repr(text))


async def fetch(
    url: str, target: str, checksum: str, context: BuildContext, disk: trio.CapacityLimiter
) -> Aside:
    """Fetch a URL. It is fetched each time: its digest decides whether the step is cached."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise InvalidParameter(f"invalid checksum {checksum}: sha256:<64 digits> is needed")
    name = posixpath.basename(urlsplit(url).path)
    if not name and target.endswith("/"):
        raise InvalidParameter(f"cannot determine filename for source {url}")
    async with download(url) as body:
        opened = await trio.to_thread.run_sync(partial(context.open_aside), limiter=disk)
        try:
            async for piece in body:
                if opened.size_bytes > MAX_DOWNLOAD_BYTES:
                    raise InvalidParameter(f"{url} is larger than {MAX_DOWNLOAD_BYTES} bytes")
                await trio.to_thread.run_sync(partial(opened.write, piece), limiter=disk)
        finally:
            opened.close(_DOWNLOAD_MODE, _instant(body.last_modified))
    if checksum and opened.digest != checksum:
        raise InvalidParameter(f"digest mismatch {checksum}: {opened.digest}")
    return Aside(path=opened.path, name=name, digest=opened.digest)


def repository_of(source: str) -> GitSource | None:
    """The git repository that a source of ADD names; what may be a file's name names none."""
    if "://" not in source and not source.startswith("git@"):
        return None
    return parse_git(source)


async def fetch_repository(
    repository: GitSource,
    checksum: str,
    keeps_repository: bool,
    context: BuildContext,
    disk: trio.CapacityLimiter,
) -> Aside:
    """Fetch a repository, each time: its commit decides whether the step is cached."""
    folder = await trio.to_thread.run_sync(context.make_aside, limiter=disk)
    commit = await check_out(repository, folder, keeps_repository=keeps_repository)
    if checksum and not commit.startswith(checksum):
        raise InvalidParameter(f"expected checksum to match {checksum}, got {commit}")
    path = await trio.to_thread.run_sync(
        partial(directory_in, folder, repository.directory), limiter=disk
    )
    digest = repr((commit, repository.directory, keeps_repository))
    return Aside(path=path, name="", digest=digest, is_directory=True)


def _instant(text: str) -> float:
    """Seconds since the epoch of a Last-Modified; 0 without one, so that the cache is stable."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0
