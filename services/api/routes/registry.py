"""What needs a registry: pull, push, login, search, and a look at an image that is elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from quart import Blueprint

from services.api.ports import RegistryClient
from services.api.streams.transfer import TransferAnswer
from services.api.types.platforms import parse_import_platform, parse_platform
from services.api.types.registry import distribution_to_wire, search_result_to_wire
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import check_content_type, encode
from services.api.wire.query import Query
from services.api.wire.request import current_request
from services.api.wire.responses import EngineResponse, StreamResponse
from services.errors import Forbidden, InvalidParameter
from services.images import Platform, Reference, parse_reference
from services.images.reference import Digest, is_digest
from services.registry.credentials import ANONYMOUS, Credentials, decode_auth_body
from services.registry.credentials import decode_auth_header as decode_auth
from services.registry.requests import PullRequest, PushRequest, SearchRequest

AUTH_HEADER: Final = "X-Registry-Auth"
MAX_AUTH_BYTES: Final = 64 * 1024
PULL_PLATFORM_SINCE: Final = ApiVersion(1, 32)
PUSH_PLATFORM_SINCE: Final = ApiVersion(1, 46)
SEARCH_LIMITS: Final = range(1, 101)
SEARCH_DEFAULT: Final = 25
_TRUTHS: Final = {"1": True, "true": True, "0": False, "false": False}


class RegistryRoutes:
    """The operations that speak to a registry."""

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("registry", __name__)
        for rule, view, method in (
            ("/images/<path:name>/push", self.push, "POST"),
            ("/images/search", self.search, "GET"),
            ("/auth", self.login, "POST"),
            ("/distribution/<path:name>/json", self.inspect, "GET"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    def pull(self) -> EngineResponse:
        """POST /images/create with an image (ImageCreate).

        What goes wrong after the first line is told in the stream.
        """
        request = current_request()
        query = request.query
        pull = PullRequest(
            reference=_pulled(query.text("fromImage"), query.text("tag")),
            platform=_pull_platform(query, request.api_version),
            credentials=_credentials(),
        )
        return StreamResponse(TransferAnswer(self._registry.pull(pull)).lines())

    async def push(self, name: str) -> EngineResponse:
        """POST /images/{name}/push (ImagePush)."""
        request = current_request()
        query = request.query
        reference, tag = parse_reference(name), query.text("tag")
        if tag:
            if reference.digest is not None:
                raise InvalidParameter("refusing to push a reference with a digest and a tag")
            reference = reference.with_tag(tag)
        platform = query.text("platform")
        push = PushRequest(
            reference=reference,
            platform=(
                parse_platform(platform)
                if platform and request.api_version >= PUSH_PLATFORM_SINCE
                else None
            ),
            credentials=await _push_credentials(),
        )
        return StreamResponse(TransferAnswer(self._registry.push(push)).lines())

    async def login(self) -> EngineResponse:
        """POST /auth (SystemAuth)."""
        request = current_request()
        data = await request.body.read(MAX_AUTH_BYTES)
        check_content_type(request.headers.get("Content-Type", ""), has_body=bool(data))
        login = await self._registry.login(decode_auth_body(data))
        answer = {"Status": "Login Succeeded", "IdentityToken": login.identity_token}
        return EngineResponse(encode(answer))

    async def inspect(self, name: str) -> EngineResponse:
        """GET /distribution/{name}/json (DistributionInspect)."""
        reference = parse_reference(name)
        _check_name(reference)
        return EngineResponse(
            encode(distribution_to_wire(await self._registry.inspect(reference, _credentials())))
        )

    async def search(self) -> EngineResponse:
        """GET /images/search (ImageSearch)."""
        request = current_request()
        query = request.query
        limit = query.integer("limit", SEARCH_DEFAULT) or SEARCH_DEFAULT
        if limit not in SEARCH_LIMITS:
            raise InvalidParameter(
                f"limit {limit} is outside the range of [{SEARCH_LIMITS[0]}, {SEARCH_LIMITS[-1]}]"
            )
        if not query.text("term"):
            raise InvalidParameter("a search term must be given")
        filters = query.filters()
        meta = {k: v for k, v in request.headers.items() if k.lower().startswith("x-meta-")}
        found = await self._registry.search(
            SearchRequest(
                term=query.text("term"),
                limit=limit,
                is_official=_truth(filters, "is-official"),
                is_automated=_truth(filters, "is-automated"),
                least_stars=_stars(filters),
                credentials=_credentials(),
                headers=meta,
            )
        )
        return EngineResponse(encode([search_result_to_wire(one) for one in found]))


def _pulled(name: str, tag: str) -> Reference:
    """What `fromImage` and `tag` mean together: the tag may be a digest; none means all tags."""
    reference = parse_reference(name.removesuffix(":"))
    if tag:
        reference = (
            reference.with_digest(Digest(tag)) if is_digest(tag) else reference.with_tag(tag)
        )
    _check_name(reference)
    return reference


def _check_name(reference: Reference) -> None:
    if reference.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name")


def _pull_platform(query: Query, version: ApiVersion) -> Platform | None:
    text = query.text("platform")
    if not text or version < PULL_PLATFORM_SINCE:
        return None
    return parse_import_platform(text)


def _credentials() -> Credentials:
    """Those of the header. What cannot be read counts as none, as dockerd does."""
    try:
        return decode_auth(current_request().headers.get(AUTH_HEADER, ""))
    except InvalidParameter:
        return ANONYMOUS


async def _push_credentials() -> Credentials:
    """Those of the header, or without one, of the body: clients of before 1.0 send them there."""
    request = current_request()
    if AUTH_HEADER in request.headers:
        return _credentials()
    data = await request.body.read(MAX_AUTH_BYTES)
    if not data:
        raise InvalidParameter("bad parameters and missing X-Registry-Auth: EOF")
    try:
        return decode_auth_body(data)
    except InvalidParameter as error:
        raise InvalidParameter(f"bad parameters and missing X-Registry-Auth: {error}") from error


def _truth(filters: Mapping[str, tuple[str, ...]], name: str) -> bool | None:
    unknown = filters.keys() - {"is-official", "is-automated", "stars"}
    if unknown:
        raise InvalidParameter(f"invalid filter '{min(unknown)}'")
    values = filters.get(name, ())
    if not values:
        return None
    if len(values) > 1 or values[0] not in _TRUTHS:
        raise InvalidParameter(f"invalid filter '{name}={json.dumps(list(values))}'")
    return _TRUTHS[values[0]]


def _stars(filters: Mapping[str, tuple[str, ...]]) -> int:
    """The most that one of the values asks for."""
    values = filters.get("stars", ())
    if not all(value.isdecimal() and len(value) < 10 for value in values):
        raise InvalidParameter(f"invalid filter 'stars={json.dumps(list(values))}'")
    return max(map(int, values), default=0)
