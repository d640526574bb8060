"""Calls to one plugin: JSON over HTTP, on a unix socket or TCP.

Source: moby, pkg/plugins/client.go. dockerd tries for 30 s to reach a plugin that is away; here the
request that waits for it is refused after CONNECT_BUDGET_S.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import msgspec
import trio

from services import lean_httpx, typed_json
from services.errors import EngineError
from services.plugins.discovery import PluginAddress
from services.system.tls import client_context

if TYPE_CHECKING:
    import httpx

CONNECT_BUDGET_S: Final = 2.0
CALL_BUDGET_S: Final = 30.0
ANSWER_LIMIT_BYTES: Final = 1 << 20
_RETRY_S: Final = 0.2
_ACCEPT: Final = "application/vnd.docker.plugins.v1.2+json"

_T = TypeVar("_T")


class PluginFailed(EngineError):
    """A plugin is away, or does not answer as one."""


class _Failure(msgspec.Struct, rename="pascal"):
    err: str = ""


class _Manifest(msgspec.Struct, rename="pascal"):
    implements: list[str] | None = None


class PluginClient:
    """Speaks to one plugin; connections are kept. Calls may run side by side."""

    def __init__(self, address: PluginAddress, *, implements: str) -> None:
        self._address = address
        self._implements = implements
        self._http: httpx.AsyncClient | None = None
        self._is_activated = False
        self._activating = trio.Lock()

    async def call(self, method: str, argument: object, kind: type[_T]) -> _T:
        """Call `method` and decode its answer.

        Raises:
            PluginFailed: in dockerd's words where it has some.
        """
        if not self._is_activated:
            async with self._activating:
                await self._activate()
        return _decode(await self._post(method, msgspec.json.encode(argument)), kind)

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _activate(self) -> None:
        """The handshake: what it is a plugin for."""
        if self._is_activated:
            return
        manifest = _decode(await self._post("Plugin.Activate", b""), _Manifest)
        if self._implements not in (manifest.implements or ()):
            raise PluginFailed("Plugin does not implement the requested driver")
        self._is_activated = True

    async def _post(self, method: str, body: bytes) -> bytes:
        http = self._http or await self._open()
        try:
            with trio.fail_after(CALL_BUDGET_S):
                status, answer = await self._exchange(http, method, body)
        except trio.TooSlowError as error:
            raise PluginFailed(
                f'Post "{self._shown(method)}": net/http: request canceled '
                "(Client.Timeout exceeded while awaiting headers)"
            ) from error
        if status != 200:
            raise PluginFailed(f"{method}: {_told(answer)}")
        return answer

    async def _exchange(
        self, http: httpx.AsyncClient, method: str, body: bytes
    ) -> tuple[int, bytes]:
        import httpx

        url = f"{self._address.url or 'http://plugin'}/{method}"
        deadline = trio.current_time() + CONNECT_BUDGET_S
        while True:
            try:
                async with http.stream("POST", url, content=body) as response:
                    return response.status_code, await _read(response)
            except httpx.HTTPError as error:
                # It may be restarting, and a question may be asked twice.
                if trio.current_time() + _RETRY_S >= deadline:
                    said = f'Post "{self._shown(method)}": {self._reason(error)}'
                    raise PluginFailed(said) from error
            await trio.sleep(_RETRY_S)  # nothing tells us of its return; the deadline bounds this

    async def _open(self) -> httpx.AsyncClient:
        # A tenth of a second, on a thread: only engines with plugins need it.
        await trio.to_thread.run_sync(lean_httpx.load)
        import httpx

        address = self._address
        try:
            transport = httpx.AsyncHTTPTransport(
                uds=address.socket or None,
                verify=_tls(address) if address.url.startswith("https://") else False,
            )
        except (OSError, ssl.SSLError) as error:
            raise PluginFailed(f"TLS files of a plugin: {error}") from error
        # No proxy of the environment's: a plugin is a neighbour.
        client = httpx.AsyncClient(
            transport=transport,
            headers={"Accept": _ACCEPT},
            timeout=CALL_BUDGET_S,
            trust_env=False,
        )
        self._http = self._http or client
        return self._http

    def _shown(self, method: str) -> str:
        """A call's URL as Go writes it."""
        origin = self._address.url or f"http://{quote(self._address.socket, safe='')}"
        return f"{origin}/{method}"

    def _reason(self, error: Exception) -> str:
        import httpx

        if not isinstance(error, httpx.ConnectError):
            return str(error) or type(error).__name__
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(error)
        where = (
            f"unix {self._address.socket}"
            if self._address.socket
            else f"tcp {self._address.url.partition('://')[2]}"
        )
        return f"dial {where}: connect: {reason.lower()}"


async def _read(response: httpx.Response) -> bytes:
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > ANSWER_LIMIT_BYTES:
            raise PluginFailed(f"its answer is larger than {ANSWER_LIMIT_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return typed_json.decode(data, kind)
    except msgspec.ValidationError as error:
        raise PluginFailed(str(error)) from error
    except msgspec.DecodeError as error:
        raise PluginFailed(_decode_error(data, error)) from error


def _decode_error(data: bytes, error: Exception) -> str:
    """In Go's words for an answer that is no JSON from its first character on."""
    first = data.lstrip()[:1].decode(errors="replace")
    if not first:
        return "EOF"
    if first in "{[":
        return f"invalid JSON: {error}"
    return f"invalid character {first!r} looking for beginning of value"


def _told(data: bytes) -> str:
    """What an answer that is no success says."""
    try:
        return typed_json.decode(data, _Failure).err or data.decode(errors="replace")
    except msgspec.MsgspecError:
        return data.decode(errors="replace").strip()


def _tls(address: PluginAddress) -> ssl.SSLContext:
    context = client_context(address.ca_file)
    if address.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.cert_file:
        context.load_cert_chain(address.cert_file, address.key_file or None)
    return context
