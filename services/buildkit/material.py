"""What a build is made of, from where the client has it: its session, a URL, a repository.

Source: BuildKit, frontend/dockerui/context.go and config.go.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from services.build.context import BuildContext, BuildContexts
from services.build.named import NamedContext, context_name
from services.containers.archives.root import PLACE, Root
from services.errors import InvalidParameter, NotSupported

from .attributes import Wish
from .board import StatusBoard
from .filesync import Transfer, Wanted
from .ignore import MAX_IGNORE_BYTES, read_patterns
from .methods import UPLOAD
from .sessions import Session
from .steps import Step

_REMOTE: Final = ("http://", "https://", "git://", "git@", "ssh://")
IGNORE_FILE: Final = ".dockerignore"
MAX_DOCKERFILE_BYTES: Final = 16 << 20


class Materials:
    """Opens contexts as clients' sessions describe them."""

    def __init__(self, contexts: BuildContexts, *, disk: trio.CapacityLimiter) -> None:
        self._contexts, self._disk = contexts, disk

    @asynccontextmanager
    async def opened(
        self, wish: Wish, session: Session, board: StatusBoard
    ) -> AsyncIterator[BuildContext]:
        """The context, with its Dockerfile. What it holds comes when it is needed.

        Raises:
            EngineError: it cannot be had.
        """
        name = wish.request.dockerfile
        remote = wish.request.remote
        if wish.body is not None:
            source = self._contexts.receive(wish.body)
        elif wish.upload:
            source = self._contexts.receive(_Upload(session, wish.upload))
        elif remote:
            source = self._contexts.fetch(remote)
        else:
            source = self._contexts.empty()
        step = Step(board, "context", f"[internal] load remote build context {remote}".rstrip())
        if wish.upload or remote or wish.body is not None:
            step.begin()
        async with source as context:
            step.end()
            ignored: bytes | None = None
            if wish.dockerfile_dir:
                ignored = await self._load_dockerfile(wish, session, board, context)
            else:
                read = partial(context.read_dockerfile, name)
                context.dockerfile = await trio.to_thread.run_sync(read, limiter=self._disk)
            if wish.context_dir:
                context.fill = partial(
                    self._fill, wish.context_dir, session, board, context, ignored
                )
            yield context

    def named(self, wish: Wish, session: Session, board: StatusBoard) -> Mapping[str, NamedContext]:
        """The wish's other contexts, by their names in the Dockerfile.

        Raises:
            NotSupported: one that is elsewhere than this engine looks.
        """
        return {
            context_name(name): self._named(name, place, session, board)
            for name, place in wish.named.items()
        }

    def _named(self, name: str, place: str, session: Session, board: StatusBoard) -> NamedContext:
        kind, colon, rest = place.partition(":")
        if kind == "docker-image":
            return NamedContext(image=rest.removeprefix("//"))
        if kind == "local" and colon:
            return NamedContext(open=partial(self._opened_local, name, rest, session, board))
        if place.startswith(_REMOTE):
            return NamedContext(open=partial(self._contexts.fetch, place))
        raise NotSupported(f"the context {name}={place} is of a kind that is not supported")

    @asynccontextmanager
    async def _opened_local(
        self, name: str, directory: str, session: Session, board: StatusBoard
    ) -> AsyncIterator[BuildContext]:
        async with self._contexts.empty() as context:
            label = f"[context {name}] load"
            context.fill = partial(self._fill, directory, session, board, context, None, label)
            yield context

    async def _load_dockerfile(
        self, wish: Wish, session: Session, board: StatusBoard, context: BuildContext
    ) -> bytes | None:
        """Set it; what its own file of patterns says, if it has one."""
        name = wish.request.dockerfile
        step = Step(board, "dockerfile", f"[internal] load build definition from {name}")
        lower = name.lower() if name == "Dockerfile" else name
        own = f"{name}{IGNORE_FILE}"
        with step.running():
            directory = await self._fetch(
                Wanted(name=wish.dockerfile_dir, follow=list(dict.fromkeys((name, own, lower)))),
                session,
                step,
                "transferring dockerfile:",
                context,
            )
            data = await self._read(directory, name, MAX_DOCKERFILE_BYTES)
            if data is None:
                data = await self._read(directory, lower, MAX_DOCKERFILE_BYTES)
            if data is None:
                raise InvalidParameter(
                    f"failed to read dockerfile: open {name}: no such file or directory"
                )
            context.dockerfile = data
            return await self._read(directory, own, MAX_IGNORE_BYTES)

    async def _fill(
        self,
        name: str,
        session: Session,
        board: StatusBoard,
        context: BuildContext,
        ignored: bytes | None,
        label: str = "[internal] load",
    ) -> None:
        """Have the context's files: all that no pattern leaves out."""
        if ignored is None:
            step = Step(board, f"ignore {name}", f"{label} {IGNORE_FILE}")
            with step.running():
                wanted = Wanted(name=name, follow=[IGNORE_FILE])
                directory = await self._fetch(
                    wanted, session, step, "transferring context:", context
                )
                ignored = await self._read(directory, IGNORE_FILE, MAX_IGNORE_BYTES) or b""
        step = Step(board, f"files {name}", f"{label} build context")
        with step.running():
            wanted = Wanted(name=name, exclude=read_patterns(ignored))
            await self._transfer(
                wanted, session, step, "transferring context:", context.directory / "context"
            )

    async def _fetch(
        self, wanted: Wanted, session: Session, step: Step, word: str, context: BuildContext
    ) -> Path:
        """A few files, into a directory of the build's own."""
        directory = context.files / secrets.token_hex(8)
        await trio.to_thread.run_sync(partial(directory.mkdir, mode=0o700), limiter=self._disk)
        await self._transfer(wanted, session, step, word, directory)
        return directory

    async def _transfer(
        self, wanted: Wanted, session: Session, step: Step, word: str, target: Path
    ) -> None:
        task = step.task(word)
        await Transfer(wanted, target, disk=self._disk, advance=task.advance).run(session)
        task.end()

    async def _read(self, directory: Path, name: str, limit_bytes: int) -> bytes | None:
        return await trio.to_thread.run_sync(
            partial(_read_in, directory, name, limit_bytes), limiter=self._disk
        )


def _read_in(directory: Path, name: str, limit_bytes: int) -> bytes | None:
    """A file that came; links in it are taken as inside. Blocks. None if there is none."""
    with Root(fd=os.open(directory, PLACE | os.O_DIRECTORY)) as root:
        try:
            with (
                root.opened(name, os.O_RDONLY | os.O_NONBLOCK) as found,
                open(found, "rb", closefd=False) as file,
            ):
                data = file.read(limit_bytes + 1)
        except OSError:
            return None
    if len(data) > limit_bytes:
        raise InvalidParameter(f"{name} is larger than {limit_bytes} bytes")
    return data


class _Upload:
    """An archive that the client holds ready, as a request's body."""

    def __init__(self, session: Session, path: str) -> None:
        self._session, self._path = session, path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        metadata = [("urlpath", self._path)]
        async with self._session.stream(UPLOAD, metadata, is_one_way=True) as stream:
            while (message := await stream.receive()) is not None:
                yield message.data
