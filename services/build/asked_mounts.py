"""RUN --mount=type=secret and type=ssh: what the client is asked for, as a command sees it.

Files of secrets are in memory alone, and go with the command.

Source: BuildKit, frontend/dockerfile/dockerfile2llb/convert_secrets.go and convert_ssh.go.
"""

from __future__ import annotations

import os
import posixpath
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from services.containers.config import BindOptions, Mount
from services.errors import InvalidParameter
from services.system.memory_folders import mount_memory, unmount_memory

from .client import BuildClient
from .context import MEMORY_PREFIX
from .mount_options import MountType, RunMount

T = TypeVar("T")

MAX_SECRETS_BYTES: Final = 64 << 20
CLEANUP_LIMIT_S: Final = 30.0
_SECRET_MODE: Final = 0o400
_SOCKET_MODE: Final = 0o600
_NO_SESSION: Final = "the classic builder's API has no session to get it by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command gets: mounts, and variables that say where they are."""

    mounts: Sequence[Mount] = ()
    variables: tuple[tuple[str, str], ...] = ()


def check_asked(mount: RunMount, client: BuildClient | None) -> None:
    """Raises InvalidParameter for what no client can be asked for."""
    if mount.env:
        raise InvalidParameter(
            "a secret in a variable (env=) is not supported: it would be stored with the "
            "command's container; mount it as a file"
        )
    if client is None and mount.is_required:
        raise _missing(mount, f": {_NO_SESSION}")


class AskedMounts:
    """Asks one build's client. `files` is the build's own directory."""

    def __init__(
        self, client: BuildClient | None, files: Path, *, disk: trio.CapacityLimiter
    ) -> None:
        self._client, self._files, self._disk = client, files, disk

    @asynccontextmanager
    async def provided(self, mounts: Sequence[RunMount]) -> AsyncIterator[Asked]:
        """Have them for a command that runs in the block.

        Raises:
            InvalidParameter: the client has not what is required.
        """
        client = self._client
        if client is None or not mounts:
            yield Asked()
            return
        async with self._folder() as folder, AsyncExitStack() as stack:
            made: list[Mount] = []
            variables: list[tuple[str, str]] = []
            agents = 0
            for number, mount in enumerate(mounts):
                path = folder / str(number)
                if mount.type is MountType.SECRET:
                    if await self._has_secret(client, mount, path):
                        made.append(_bind(path, _secret_target(mount)))
                    continue
                target = _ssh_target(mount, agents)
                agents += 1
                if not await stack.enter_async_context(
                    client.ssh_agent(mount.id or "default", path)
                ):
                    if mount.is_required:
                        raise _missing(mount)
                    continue
                await self._run(partial(_own, path, mount, _SOCKET_MODE))
                made.append(_bind(path, target))
                if not variables:
                    variables.append(("SSH_AUTH_SOCK", target))
            yield Asked(mounts=made, variables=tuple(variables))

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[Path]:
        folder = self._files / f"{MEMORY_PREFIX}{secrets.token_hex(8)}"
        try:
            await self._run(partial(folder.mkdir, mode=0o700))
            await self._run(partial(mount_memory, folder, MAX_SECRETS_BYTES))
            yield folder
        finally:
            with trio.move_on_after(CLEANUP_LIMIT_S, shield=True):
                await self._run(partial(unmount_memory, folder))

    async def _has_secret(self, client: BuildClient, mount: RunMount, path: Path) -> bool:
        data = await client.secret(_secret_id(mount))
        if data is None:
            if mount.is_required:
                raise _missing(mount)
            return False
        await self._run(partial(_write, path, data, mount))
        return True

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def _secret_id(mount: RunMount) -> str:
    return mount.source or mount.id or posixpath.basename(mount.target)


def _secret_target(mount: RunMount) -> str:
    if mount.target:
        return posixpath.join("/", mount.target)
    return posixpath.join("/run/secrets", posixpath.basename(_secret_id(mount)))


def _ssh_target(mount: RunMount, number: int) -> str:
    return posixpath.join("/", mount.target or f"run/buildkit/ssh_agent.{number}")


def _missing(mount: RunMount, why: str = "") -> InvalidParameter:
    if mount.type is MountType.SECRET:
        return InvalidParameter(f"secret {_secret_id(mount)}: not found{why}")
    return InvalidParameter(f'no SSH key "{mount.id or "default"}" forwarded from the client{why}')


def _bind(path: Path, target: str) -> Mount:
    return Mount(
        type="bind", source=str(path), target=target, read_only=True, bind_options=BindOptions()
    )


def _write(path: Path, data: bytes, mount: RunMount) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    _own(path, mount, _SECRET_MODE)


def _own(path: Path, mount: RunMount, mode: int) -> None:
    os.chown(path, mount.uid or 0, mount.gid or 0)
    path.chmod(mode if mount.mode is None else mount.mode)
