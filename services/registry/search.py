"""`docker search`: the index API of before 2015, which Docker Hub and a few others still answer.

Source: moby, daemon/pkg/registry (search.go, search_session.go).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from services import typed_json
from services.errors import EngineError, InvalidParameter
from services.images.reference import parse_reference

from .answers import read_bounded
from .errors import RegistryError, Unreachable
from .requests import SearchRequest, SearchResult
from .session import open_session
from .settings import OFFICIAL, RegistrySettings

MAX_BYTES: Final = 8 << 20


class _Result(msgspec.Struct, frozen=True):
    name: str = ""
    description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct, frozen=True):
    results: list[_Result] | None = None


async def search(
    settings: RegistrySettings, request: SearchRequest, *, user_agent: str
) -> Sequence[SearchResult]:
    """What the registry that the term names, Docker Hub without one, finds for the rest of it.

    Raises:
        InvalidParameter: the term is none.
        EngineError: the registry has no such search, or cannot be asked.
    """
    domain, term = split_term(request.term)
    fields = {"q": term} | ({"n": str(request.limit)} if request.limit else {})
    credentials = request.credentials
    headers = dict(request.headers)
    async with open_session(settings, credentials, user_agent=user_agent) as session:
        endpoints = await session.index_endpoints(domain)
        for endpoint in endpoints:
            if credentials.username and endpoint.url.startswith("https:"):
                pair = f"{credentials.username}:{credentials.password}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            try:
                async with session.stream(
                    endpoint,
                    "GET",
                    f"/v1/search?{urlencode(fields)}",
                    headers=headers,
                    challenged=False,
                ) as response:
                    data = await read_bounded(response, MAX_BYTES, "search result")
                return _chosen(data, request)
            except Unreachable:
                headers.pop("Authorization", None)
                if endpoint is endpoints[-1]:
                    raise
            except RegistryError as error:
                raise EngineError(f"Unexpected status code {error.status}") from error
    raise EngineError(f"no endpoint for {domain}")


def split_term(term: str) -> tuple[str, str]:
    """The registry, and what is searched for there."""
    if "://" in term:
        raise InvalidParameter(
            f"invalid repository name: repository name ({term}) should not have a scheme"
        )
    first, slash, rest = term.partition("/")
    if slash and first != "localhost" and not any(sign in first for sign in ".:"):
        return OFFICIAL, rest if first == "library" else term
    if not slash or first in (OFFICIAL, "index.docker.io"):
        return OFFICIAL, (rest if slash else term).removeprefix("library/")
    parse_reference(f"{first}/x")  # refuses what is no host
    return first, rest


def _chosen(data: bytes, request: SearchRequest) -> Sequence[SearchResult]:
    try:
        found = typed_json.decode(data, _Results).results or []
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineError(f"error decoding registry search results: {error}") from error
    return [
        SearchResult(
            name=one.name,
            description=one.description or "",
            star_count=one.star_count,
            is_official=one.is_official,
            is_automated=one.is_automated,
        )
        for one in found
        if request.is_official in (None, one.is_official)
        and request.is_automated in (None, one.is_automated)
        and one.star_count >= request.least_stars
    ]
