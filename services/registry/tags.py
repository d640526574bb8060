"""All tags of a repository, page by page. Source: distribution-spec, "Listing Tags"."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from services import typed_json
from services.errors import EngineError
from services.images.reference import Reference

from .answers import read_bounded
from .endpoints import Endpoint
from .errors import Unreachable, error_of
from .session import Session

MAX_TAGS: Final = 10_000
MAX_BYTES: Final = 4 << 20  # a page
_NEXT: Final = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


class _Tags(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


async def list_tags(session: Session, reference: Reference) -> list[str]:
    """The tags that the registry has of the reference's repository, in its order.

    Raises:
        RegistryError: there is no such repository, or it is not shown.
    """
    endpoints = await session.endpoints_of(reference.domain, mirrors=False)
    for endpoint in endpoints:
        try:
            await session.ping(endpoint)
            return await _all(session, endpoint, reference.path)
        except Unreachable:
            if endpoint is endpoints[-1]:
                raise
    raise EngineError(f"no endpoint for {reference.domain}")


async def _all(session: Session, endpoint: Endpoint, repository: str) -> list[str]:
    tags: list[str] = []
    target = f"/v2/{repository}/tags/list"
    while target and len(tags) < MAX_TAGS:
        async with session.stream(
            endpoint, "GET", target, scopes=(f"repository:{repository}:pull",), error=error_of
        ) as response:
            data = await read_bounded(response, MAX_BYTES, "list of tags")
            following = _NEXT.search(response.headers.get("link", ""))
            target = str(response.url.join(following[1])) if following else ""
        try:
            tags += typed_json.decode(data, _Tags).tags or []
        except msgspec.MsgspecError as error:
            raise EngineError(f"unable to decode the list of tags: {error}") from error
    return tags
