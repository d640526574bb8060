"""Pulls and pushes with credentials that the client's session is asked for.

Source: BuildKit, session/auth/auth.go (CredentialsFunc).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from protos.generated.moby.filesync.v1 import CredentialsRequest
from services.images import Platform, Reference
from services.images.reference import DEFAULT_DOMAIN
from services.registry.credentials import ANONYMOUS, Credentials
from services.registry.registry import Registry
from services.registry.requests import PullRequest, PushRequest

from .methods import CREDENTIALS
from .sessions import Session
from .steps import Step, Task

DOCKER_HUB: Final = "registry-1.docker.io"
"""What BuildKit calls Docker Hub's registry when it asks; clients translate it."""


async def credentials_for(session: Session, reference: Reference) -> Credentials:
    """What the client has for a registry. Raises EngineError when its helper fails."""
    if not session.offers(CREDENTIALS):
        return ANONYMOUS
    domain = DOCKER_HUB if reference.domain == DEFAULT_DOMAIN else reference.domain
    reply = await session.call(CREDENTIALS, CredentialsRequest(host=domain))
    if not reply.username:  # a token that stands for a login
        return Credentials(identity_token=reply.secret) if reply.secret else ANONYMOUS
    return Credentials(username=reply.username, password=reply.secret)


class SessionPuller:
    """Pulls base images for one build."""

    def __init__(self, registry: Registry, session: Session) -> None:
        self._registry, self._session = registry, session

    def pull(
        self, reference: Reference, platform: Platform | None
    ) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]:
        """See `services.build.ports.Puller`."""
        return self._pull(reference, platform)

    @asynccontextmanager
    async def _pull(
        self, reference: Reference, platform: Platform | None
    ) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        credentials = await credentials_for(self._session, reference)
        request = PullRequest(reference=reference, platform=platform, credentials=credentials)
        async with self._registry.pull(request) as job:

            async def messages() -> AsyncIterator[Mapping[str, Any]]:
                async for lines in job.board.watch():
                    for line in lines:
                        counts = {"current": line.current, "total": line.total}
                        yield {"id": line.id, "status": line.status, "progressDetail": counts}
                if job.error is not None:
                    raise job.error

            yield messages()


async def push(registry: Registry, session: Session, reference: Reference, step: Step) -> None:
    """Push one reference, told of as parts of `step`. Raises EngineError."""
    credentials = await credentials_for(session, reference)
    tasks: dict[str, Task] = {}
    async with registry.push(PushRequest(reference=reference, credentials=credentials)) as job:
        async for lines in job.board.watch():
            for line in lines:
                if not line.id:
                    continue
                task = tasks.get(line.id)
                if task is None:
                    task = tasks[line.id] = step.task(f"pushing {line.id}")
                task.advance(line.current, line.total)
        if job.error is not None:
            raise job.error
    for task in tasks.values():
        task.end()
