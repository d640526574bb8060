"""`docker login`: are these credentials good? Nothing of them is kept here.

Source: moby, daemon/pkg/registry/auth.go; its sentences.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from services.errors import EngineError, Unauthorized

from .credentials import Credentials
from .errors import RegistryError, Unreachable
from .requests import Login
from .session import open_session
from .settings import OFFICIAL, RegistrySettings

_OFFICIAL_NAMES: Final = frozenset(
    {"", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)


async def login(settings: RegistrySettings, credentials: Credentials, *, user_agent: str) -> Login:
    """Show the credentials to the registry that they are for.

    Raises:
        Unauthorized: it refuses them.
        EngineError: it cannot be asked.
    """
    domain = registry_of(credentials.server_address)
    async with open_session(settings, credentials, user_agent=user_agent, is_login=True) as session:
        endpoints = await session.endpoints_of(domain, mirrors=False)
        for endpoint in endpoints:
            where = f"{endpoint.url}/v2/"
            try:
                async with session.stream(endpoint, "GET", "/v2/"):
                    return Login(identity_token=session.authorizer(endpoint).refresh_token)
            except Unreachable:
                if endpoint is endpoints[-1]:
                    raise
            except RegistryError as error:
                raise _refused(where, error) from error
    raise EngineError(f"no endpoint for {domain}")


def registry_of(server_address: str) -> str:
    """The registry's name as references have it: addresses may be URLs, with /v1/ at their end."""
    text = server_address.strip()
    host = text.partition("://")[2] if "://" in text else text
    host = re.split(r"[/?#]", host, maxsplit=1)[0]
    host = host.rpartition("@")[2]
    return OFFICIAL if host.lower() in _OFFICIAL_NAMES else host


def _refused(where: str, error: RegistryError) -> EngineError:
    if error.status in (401, 403):
        if error.said:
            return Unauthorized(f'Get "{where}": {error}')
        phrase = HTTPStatus(error.status).phrase
        return Unauthorized(f"login attempt to {where} failed with status: {error.status} {phrase}")
    return EngineError(f"login attempt to {where} failed with status: {error.status}")
