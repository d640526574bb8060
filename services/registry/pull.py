"""`docker pull`: an image out of a registry into containerd's stores, whole or not at all.

The documents first, then configuration and layers side by side, each layer unpacked as soon as it
and the ones below it are here; the name last. Until then a lease keeps what there is.
"""

from __future__ import annotations

from loguru import logger

from services.errors import EngineError
from services.images.platform import Platform
from services.images.reference import Reference

from .errors import Unreachable, pull_error
from .image_pull import ImagePull, PullMeans
from .progress import Board
from .requests import PullRequest
from .session import Session, open_session
from .tags import list_tags

_log = logger.bind(service="registry")


class Puller:
    """Carries pulls out, any number at a time."""

    def __init__(self, means: PullMeans, *, user_agent: str) -> None:
        self._means, self._user_agent = means, user_agent

    async def pull(self, request: PullRequest, board: Board) -> None:
        """Bring the image here and give it its name, telling `board`.

        Raises:
            NotFound: the registry has no such image, or does not show it; dockerd's words.
            EngineError: anything else that a registry, the network or an image can be wrong with.
        """
        reference = request.reference
        if reference.digest is not None:
            reference = reference.with_digest(reference.digest)
        try:
            async with open_session(
                self._means.settings(), request.credentials, user_agent=self._user_agent
            ) as session:
                if not reference.is_name_only:
                    await self._pull_one(session, reference, request.platform, board)
                    return
                for tag in await list_tags(session, reference):
                    tagged = reference.with_tag(tag)
                    await self._pull_one(session, tagged, request.platform, board)
        except EngineError as error:
            told = pull_error(error, reference)
            if told is error:
                raise
            raise told from error

    async def _pull_one(
        self, session: Session, reference: Reference, platform: Platform | None, board: Board
    ) -> None:
        """From the first endpoint that has it; one that has begun to answer is kept to."""
        endpoints = await session.endpoints_of(reference.domain, mirrors=True)
        for endpoint in endpoints:
            pull = ImagePull(
                means=self._means,
                session=session,
                endpoint=endpoint,
                reference=reference,
                platform=platform,
                board=board,
            )
            try:
                await pull.run()
            except EngineError as error:
                is_next = endpoint.is_mirror or (
                    isinstance(error, Unreachable) and not pull.has_answered
                )
                if endpoint is endpoints[-1] or not is_next:
                    raise
                level = "WARNING" if endpoint.is_mirror else "DEBUG"
                _log.log(level, "registry endpoint passed over", url=endpoint.url, error=str(error))
            else:
                return
