"""What a registry says of an image, without fetching it (GET /distribution/{name}/json).

Source: moby, daemon/server/router/distribution.
"""

from __future__ import annotations

from services.errors import EngineError, Forbidden, NotFound, Unauthorized
from services.images.oci import (
    INDEX_TYPES,
    MAX_DOCUMENT_BYTES,
    OciDescriptor,
    OciIndex,
    OciManifest,
    OciPlatform,
    decode_document,
)
from services.images.reference import Reference

from .answers import read_bounded
from .credentials import Credentials
from .endpoints import Endpoint
from .errors import RegistryError, Unreachable
from .manifests import Document, Manifests
from .requests import Distribution
from .retry import retrying
from .session import Session, open_session
from .settings import RegistrySettings


async def inspect(
    settings: RegistrySettings, reference: Reference, credentials: Credentials, *, user_agent: str
) -> Distribution:
    """The descriptor that `reference` means at its registry, and the platforms it is there for.

    Raises:
        Unauthorized, Forbidden, NotFound: the registry says so.
    """
    reference = reference.tagged()
    async with open_session(settings, credentials, user_agent=user_agent) as session:
        endpoints = await session.endpoints_of(reference.domain, mirrors=True)
        for endpoint in endpoints:
            try:
                return await _inspect(settings, session, endpoint, reference)
            except EngineError as error:
                passes = endpoint.is_mirror or isinstance(error, Unreachable)
                if endpoint is endpoints[-1] or not passes:
                    raise _told(error) from error
    raise EngineError(f"no endpoint for {reference.domain}")


async def _inspect(
    settings: RegistrySettings, session: Session, endpoint: Endpoint, reference: Reference
) -> Distribution:
    manifests = Manifests(session, endpoint, reference.path)
    await session.ping(endpoint)
    found = await retrying(lambda: manifests.resolve(reference), attempts=settings.max_attempts)
    if not isinstance(found, Document):
        found = await manifests.fetch(found.digest, reference)
    descriptor, data = found.descriptor, found.data
    if descriptor.media_type in INDEX_TYPES:
        index = decode_document(OciIndex, data, f"index {descriptor.digest}")
        platforms = tuple(m.platform for m in index.manifests or () if m.platform is not None)
    else:
        manifest = decode_document(OciManifest, data, f"manifest {descriptor.digest}")
        platforms = await _platform(session, endpoint, reference, manifest.config)
    return Distribution(descriptor=descriptor, platforms=platforms)


async def _platform(
    session: Session, endpoint: Endpoint, reference: Reference, config: OciDescriptor
) -> tuple[OciPlatform, ...]:
    async with session.stream(
        endpoint,
        "GET",
        f"/v2/{reference.path}/blobs/{config.digest}",
        scopes=(f"repository:{reference.path}:pull",),
    ) as response:
        data = await read_bounded(response, MAX_DOCUMENT_BYTES, f"configuration {config.digest}")
    platform = decode_document(OciPlatform, data, f"configuration {config.digest}")
    return (platform,) if platform.os or platform.architecture else ()


def _told(error: EngineError) -> EngineError:
    """A registry's refusal with the status that it had."""
    if not isinstance(error, RegistryError):
        return error
    classes = {401: Unauthorized, 403: Forbidden, 404: NotFound}
    return classes.get(error.status, EngineError)(str(error))
