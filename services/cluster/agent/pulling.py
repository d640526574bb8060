"""Images of tasks: fetched before the container is made, as dockerd's agent does.

Source: moby, daemon/cluster/executor/container/adapter.go, pullImage.
"""

from __future__ import annotations

import re
from typing import Final

from loguru import logger

from services.cluster.agent.ports import Images, Registries
from services.errors import EngineError, InvalidParameter, NotFound
from services.images.reference import parse_reference
from services.registry import Credentials, PullRequest
from services.registry.credentials import decode_auth_header

log = logger.bind(service="cluster")

_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class Puller:
    """Sees to it that images are here, and as new as their tags."""

    def __init__(self, *, images: Images, registries: Registries) -> None:
        self._images = images
        self._registries = registries

    async def pull(self, image: str, registry_auth: str) -> str:
        """Fetch an image that is not here, or whose tag may have moved; "" or why it failed.

        A failure is no error: the image that is here is as good, and if there is none, the create
        says so. `registry_auth` is the header X-Registry-Auth. No limit but the registry's own.
        """
        if _ID.fullmatch(image):
            return ""
        try:
            reference = parse_reference(image)
            if reference.digest is not None and await self._is_here(image):
                return ""
            request = PullRequest(
                reference=reference.tagged(), credentials=_credentials(registry_auth)
            )
            await self._fetch(request)
        except EngineError as error:
            log.warning("image not pulled", image=image, error=str(error))
            return str(error)
        return ""

    async def _is_here(self, image: str) -> bool:
        try:
            await self._images.resolve(image)
        except (NotFound, InvalidParameter):
            return False
        return True

    async def _fetch(self, request: PullRequest) -> None:
        async with self._registries.pull(request) as job:
            async for _ in job.board.watch():
                pass  # how far it is nobody here can see
        if job.error is not None:
            raise job.error


def _credentials(registry_auth: str) -> Credentials:
    try:
        return decode_auth_header(registry_auth)
    except InvalidParameter:
        log.warning("credentials of a task cannot be read")
        return Credentials()
