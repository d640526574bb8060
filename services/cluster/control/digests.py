"""An image's digest at its registry, for a service that is to be the same image everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from services.errors import InvalidParameter
from services.images.reference import Digest, Reference, parse_reference
from services.registry.credentials import ANONYMOUS, Credentials, decode_auth_header
from services.registry.requests import Distribution


class Registry(Protocol):
    """What is needed of the registries."""

    async def inspect(self, reference: Reference, credentials: Credentials) -> Distribution:
        """What a registry says of an image."""


class RegistryDigests:
    """Asks the registries."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def pinned(self, image: str, registry_auth: str) -> str:
        """`image` with its digest, as people write it; credentials that are none count as none.

        Raises:
            EngineError: the registry does not say.
        """
        reference = parse_reference(image).tagged()
        if reference.digest is not None:
            return reference.familiar
        found = await self._registry.inspect(reference, _credentials(registry_auth))
        return replace(reference, digest=Digest(found.descriptor.digest)).familiar


def _credentials(header: str) -> Credentials:
    try:
        return decode_auth_header(header)
    except InvalidParameter:
        return ANONYMOUS
