"""Authorization plugins: each is asked, in order, before a request is carried out and before its
answer is given. One that says no, is away, or answers nonsense, refuses.

Source: docs.docker.com, "Access authorization plugin"; moby, pkg/authorization; texts as dockerd
20.10 gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from services.errors import EngineError, Forbidden
from services.plugins.client import PluginClient
from services.plugins.discovery import PluginAddress, PluginDirectories

AUTHZ: Final = "authz"
_ON_REQUEST: Final = "AuthZPlugin.AuthZReq"
_ON_RESPONSE: Final = "AuthZPlugin.AuthZRes"


class AuthRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a plugin is told of a request, by its wire names; bodies are base64 there."""

    user: str = msgspec.field(default="", name="User")
    authn_method: str = msgspec.field(default="", name="UserAuthNMethod")
    method: str = msgspec.field(default="", name="RequestMethod")
    uri: str = msgspec.field(default="", name="RequestUri")
    body: bytes = msgspec.field(default=b"", name="RequestBody")
    headers: Mapping[str, str] = msgspec.field(default_factory=dict, name="RequestHeaders")
    certificates: tuple[str, ...] = msgspec.field(default=(), name="RequestPeerCertificates")
    response_status: int = msgspec.field(default=0, name="ResponseStatusCode")
    response_body: bytes = msgspec.field(default=b"", name="ResponseBody")
    response_headers: Mapping[str, str] = msgspec.field(
        default_factory=dict, name="ResponseHeaders"
    )


class AuthResponse(msgspec.Struct, frozen=True, rename="pascal"):
    """A plugin's verdict. What does not say `Allow` does not allow."""

    allow: bool = False
    msg: str = ""
    err: str = ""


class Authorizer:
    """Asks the plugins of the present settings. One object for the engine's life."""

    def __init__(
        self, names: Callable[[], Sequence[str]], directories: PluginDirectories | None = None
    ) -> None:
        self._names = names
        self._directories = directories or PluginDirectories()
        self._clients: dict[str, tuple[PluginAddress, PluginClient]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins in the order in which they are asked, each once."""
        names = self._names()  # asked for with every request
        return tuple(dict.fromkeys(names)) if names else ()

    async def judge_request(self, names: Sequence[str], request: AuthRequest) -> None:
        """Ask `names` whether a request may be carried out.

        Raises:
            Forbidden, EngineError: one said no, or failed; in dockerd's words.
        """
        await self._judge(names, _ON_REQUEST, request)

    async def judge_response(self, names: Sequence[str], request: AuthRequest) -> None:
        """As `judge_request`, of an answer that is ready."""
        await self._judge(names, _ON_RESPONSE, request)

    async def _judge(self, names: Sequence[str], method: str, request: AuthRequest) -> None:
        for name in names:
            try:
                verdict = await (await self._client(name)).call(method, request, AuthResponse)
            except EngineError as error:
                raise EngineError(f"plugin {name} failed with error: {error}") from error
            if verdict.err:  # dockerd does not look at it where Allow is true
                raise EngineError(f"plugin {name} failed with error: {verdict.err}")
            if not verdict.allow:
                raise Forbidden(f"authorization denied by plugin {name}: {verdict.msg}")

    async def _client(self, name: str) -> PluginClient:
        """A plugin may have been put elsewhere since it was last asked."""
        address = self._directories.find(name)  # a stat or two of a local folder
        known = self._clients.get(name)
        if known is not None and known[0] == address:
            return known[1]
        client = PluginClient(address, implements=AUTHZ)
        self._clients[name] = (address, client)
        if known is not None:
            await known[1].aclose()
        return client
