"""Who a client says it is to a registry: the headers X-Registry-Auth and X-Registry-Config.

Source: Engine API, "Authentication" and the schema AuthConfig; moby, api/types/registry.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final

import msgspec

from services import typed_json
from services.errors import InvalidParameter

MAX_ENCODED_CHARS: Final = 64 * 1024  # tokens are a few KiB; a header is bounded by the server too


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What to show to one registry. Everything may be empty: anonymous. Never printed."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)  # an OAuth2 refresh token
    registry_token: str = field(default="", repr=False)  # a bearer token, used as it is
    server_address: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.username or self.password or self.identity_token or self.registry_token)


ANONYMOUS: Final = Credentials()


class _AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The wire form; clients send more, which is passed over. `auth` is USER:PASSWORD in base64."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


def decode_auth_header(encoded: str) -> Credentials:
    """The value of X-Registry-Auth: JSON in URL-safe base64, with or without padding.

    Raises:
        InvalidParameter: it is not that. Calls for which anonymous will do ignore this, as dockerd.
    """
    if not encoded:
        return ANONYMOUS
    return decode_auth_body(_base64(encoded, "X-Registry-Auth"))


def decode_auth_body(data: bytes) -> Credentials:
    """An AuthConfig as JSON: the body of POST /auth, and of a push by an old client.

    Raises:
        InvalidParameter: it is not one.
    """
    try:
        return _credentials(typed_json.decode(data or b"{}", _AuthConfig))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid X-Registry-Auth header: {error}") from error


def decode_config_header(encoded: str) -> dict[str, Credentials]:
    """The value of X-Registry-Config: an AuthConfig for each registry's address (builds send it).

    Raises:
        InvalidParameter: it is not that.
    """
    if not encoded:
        return {}
    data = _base64(encoded, "X-Registry-Config")
    try:
        configs = typed_json.decode(data, dict[str, _AuthConfig])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid X-Registry-Config header: {error}") from error
    return {address: _credentials(config) for address, config in configs.items()}


def _base64(encoded: str, header: str) -> bytes:
    if len(encoded) > MAX_ENCODED_CHARS:
        raise InvalidParameter(f"invalid {header} header: longer than {MAX_ENCODED_CHARS}")
    try:
        text = encoded.strip().encode("ascii").translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise InvalidParameter(f"invalid {header} header: {error}") from error


def _credentials(config: _AuthConfig) -> Credentials:
    username, password = config.username or "", config.password or ""
    if config.auth and not username:
        joined = _base64(config.auth, "X-Registry-Auth").decode(errors="replace")
        username, _, password = joined.partition(":")
    return Credentials(
        username=username,
        password=password.rstrip("\0"),
        identity_token=config.identitytoken or "",
        registry_token=config.registrytoken or "",
        server_address=config.serveraddress or "",
    )
