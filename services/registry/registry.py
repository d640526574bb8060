"""Registries as the rest of the engine sees them: pull, push, log in, look, search.

An engine that never speaks to a registry never loads what that takes: the first call imports it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from services import lean_httpx
from services.images.platform import Platform, host_platform

from .jobs import Job, Jobs
from .leases import LEASE_PREFIX
from .ports import ContainerdClient, ImageStore

if TYPE_CHECKING:
    from services.images.reference import Reference

    from .credentials import Credentials
    from .engine import RegistryEngine
    from .requests import (
        Distribution,
        Login,
        PullRequest,
        PushRequest,
        SearchRequest,
        SearchResult,
    )
    from .settings import RegistrySettings


class Registry:
    """`run` is a supervised child, which owns the pulls and pushes under way."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        images: ImageStore,
        settings: Callable[[], RegistrySettings],
        user_agent: str,
        is_ending: Callable[[], bool] = lambda: False,
        host: Platform | None = None,
    ) -> None:
        """`settings` is asked by each operation as it begins: a reload may change them.

        `is_ending`: whether the daemon is asked to end, so that what it has begun is worth keeping.
        """
        self._containerd, self._images, self._settings = containerd, images, settings
        self._user_agent, self._is_ending = user_agent, is_ending
        self._host = host or host_platform()
        self.jobs: Final = Jobs()  # to be looked at
        self._loading = trio.Lock()
        self._module: Any = None
        self._engine: RegistryEngine | None = None

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Own what is under way until asked to end. May be called again."""
        await self.jobs.run(task_status=task_status)

    @asynccontextmanager
    async def pull(self, request: PullRequest) -> AsyncIterator[Job]:
        """The pull of an image, shared with whoever asks for the same with the same credentials.

        Leaving the block is all the same to the pull, unless nobody else waits for it.
        """
        engine = await self._get_engine()
        async with self.jobs.join(
            "pull", str(request), request, lambda board: engine.puller.pull(request, board)
        ) as job:
            yield job

    @asynccontextmanager
    async def push(self, request: PushRequest) -> AsyncIterator[Job]:
        """A push of an image; leaving the block before it is done cuts it off."""
        engine = await self._get_engine()
        async with self.jobs.join(
            "push", str(request), object(), lambda board: engine.pusher.push(request, board)
        ) as job:
            yield job

    async def login(self, credentials: Credentials) -> Login:
        """Whether a registry takes the credentials. Unauthorized if it does not."""
        module = await self._get_module()
        answer: Login = await module.login(
            self._settings(), credentials, user_agent=self._user_agent
        )
        return answer

    async def inspect(self, reference: Reference, credentials: Credentials) -> Distribution:
        """What the registry says of an image that need not be here."""
        module = await self._get_module()
        answer: Distribution = await module.inspect(
            self._settings(), reference, credentials, user_agent=self._user_agent
        )
        return answer

    async def search(self, request: SearchRequest) -> Sequence[SearchResult]:
        """Repositories that a registry finds."""
        module = await self._get_module()
        answer: Sequence[SearchResult] = await module.search(
            self._settings(), request, user_agent=self._user_agent
        )
        return answer

    async def drop_leftovers(self) -> None:
        """Take away what pulls that were cut off by the daemon's end have left to be resumed."""
        leases = await self._containerd.leases.list()
        if any(lease.id.startswith(LEASE_PREFIX) for lease in leases):
            await (await self._get_engine()).leases.drop_leftovers()

    async def _get_engine(self) -> RegistryEngine:
        module = await self._get_module()
        if self._engine is None:
            self._engine = module.build_engine(
                containerd=self._containerd,
                images=self._images,
                settings=self._settings,
                host=self._host,
                user_agent=self._user_agent,
                is_ending=self._is_ending,
            )
        return self._engine

    async def _get_module(self) -> Any:
        async with self._loading:
            if self._module is None:
                # In a thread: httpx takes a tenth of a second, and others are being answered.
                self._module = await trio.to_thread.run_sync(
                    lean_httpx.load, "services.registry.engine"
                )
        return self._module
