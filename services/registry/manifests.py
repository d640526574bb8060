"""Manifests and indexes, as a registry has them: found by tag or digest, checked, byte for byte.

Source: distribution-spec, "Pulling manifests"; image-spec; moby for what is refused, and how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services import typed_json
from services.errors import EngineError, InvalidParameter
from services.images.model import sha256_digest
from services.images.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    OciDescriptor,
)
from services.images.reference import Reference, is_digest

from .answers import read_bounded
from .endpoints import Endpoint
from .errors import manifest_error
from .session import Session

MAX_BYTES: Final = 4 << 20  # the specification's; registries refuse larger ones
SCHEMA1_TYPES: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
ACCEPT: Final = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST, "*/*"))


class _Kind(msgspec.Struct, frozen=True):
    """What tells one document from another where nothing else says it."""

    media_type: str = msgspec.field(default="", name="mediaType")
    schema_version: int = msgspec.field(default=0, name="schemaVersion")
    manifests: Any = None
    config: Any = None
    layers: Any = None
    fs_layers: Any = msgspec.field(default=None, name="fsLayers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or an index: what points to it, and its bytes."""

    descriptor: OciDescriptor
    data: bytes


class Manifests:
    """The manifests of one repository at one endpoint."""

    def __init__(self, session: Session, endpoint: Endpoint, repository: str) -> None:
        self._session, self._endpoint, self._repository = session, endpoint, repository
        self._scopes = (f"repository:{repository}:pull",)

    async def resolve(self, reference: Reference) -> OciDescriptor | Document:
        """What the tag or digest of `reference` means now.

        Asks for the head alone, which registries do not count as a pull; the whole document comes
        from a registry whose heads do not say enough.

        Raises:
            RegistryError: it has no such manifest, or does not show it.
        """
        wanted = reference.digest or reference.tag or "latest"
        async with self._session.stream(
            self._endpoint,
            "HEAD",
            self._path(wanted),
            scopes=self._scopes,
            headers={"Accept": ACCEPT},
            accept=frozenset({405, 501}),
            error=manifest_error,
        ) as response:
            digest = response.headers.get("docker-content-digest", "")
            media_type = _media_type(response.headers.get("content-type", ""))
            size = response.headers.get("content-length", "")
            head_counts = response.is_success
        if media_type in SCHEMA1_TYPES and head_counts:
            raise schema1_refused(reference)
        is_known = media_type in INDEX_TYPES | MANIFEST_TYPES
        if not (head_counts and is_known and is_digest(digest) and size.isdecimal()):
            return await self.fetch(wanted, reference)
        if reference.digest is not None and digest != reference.digest:
            raise EngineError(
                f"manifest verification failed for digest {reference.digest}: got {digest}"
            )
        return OciDescriptor(media_type=media_type, digest=digest, size=int(size[:12]))

    async def fetch(self, wanted: str, reference: Reference) -> Document:
        """The document under a tag or digest; `reference` is for the text of errors.

        Raises:
            RegistryError: there is none.
            EngineError: it is not what its digest promises, or of a kind that is not supported.
        """
        async with self._session.stream(
            self._endpoint,
            "GET",
            self._path(wanted),
            scopes=self._scopes,
            headers={"Accept": ACCEPT},
            error=manifest_error,
        ) as response:
            said = _media_type(response.headers.get("content-type", ""))
            data = await read_bounded(response, MAX_BYTES, f"manifest {wanted}")
        digest = sha256_digest(data)
        if wanted.startswith("sha256:") and wanted != digest:
            raise EngineError(f"manifest verification failed for digest {wanted}")
        if ":" in wanted and not wanted.startswith("sha256:"):
            raise InvalidParameter(f"unsupported digest algorithm: {wanted}")
        media_type = document_type(data, said)
        if media_type in SCHEMA1_TYPES:
            raise schema1_refused(reference)
        descriptor = OciDescriptor(media_type=media_type, digest=digest, size=len(data))
        return Document(descriptor=descriptor, data=data)

    def _path(self, wanted: str) -> str:
        return f"/v2/{self._repository}/manifests/{wanted}"


def document_type(data: bytes, said: str) -> str:
    """The media type of a manifest's bytes: their own word, the sender's where they have none.

    A document that could be read as two kinds is neither.

    Raises:
        EngineError: it is none that we know.
    """
    try:
        kind = typed_json.decode(data, _Kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineError(f"invalid manifest: {error}") from error
    if kind.fs_layers is not None or kind.schema_version == 1:
        return "application/vnd.docker.distribution.manifest.v1+json"
    if kind.manifests is not None and (kind.layers is not None or kind.config is not None):
        raise EngineError("invalid manifest: it is an index and a manifest at once")
    known = INDEX_TYPES if kind.manifests is not None else MANIFEST_TYPES
    for media_type in (kind.media_type, said):
        if media_type in known:
            return media_type
    if kind.media_type or (kind.manifests is None and kind.config is None):
        raise EngineError(f"unsupported manifest media type {kind.media_type or said or 'unknown'}")
    return OCI_INDEX if kind.manifests is not None else OCI_MANIFEST


def schema1_refused(reference: Reference) -> InvalidParameter:
    """dockerd's sentence for images of before 2016."""
    return InvalidParameter(
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 "
        f"support is removed. Suggest the author of {reference} to upgrade the image to the OCI "
        "Format or Docker Image manifest v2, schema 2. More information at "
        "https://docs.docker.com/go/deprecated-image-specs/"
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
