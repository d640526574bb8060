"""The JSON documents that images are made of: index, manifest, configuration, archive listing.

The structs read both spellings, OCI's and Docker's (schema 2): they differ in media types only.
Absent and null both mean the default; fields we do not use are passed over.

Source: OCI image-spec 1.1 (image-index.md, manifest.md, config.md); Docker image spec v1.2.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from services import typed_json
from services.errors import InvalidParameter

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"

INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIG_TYPES: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

ANNOTATION_IMAGE_NAME: Final = "io.containerd.image.name"
ANNOTATION_REF_NAME: Final = "org.opencontainers.image.ref.name"
ANNOTATION_REFERENCE_TYPE: Final = "vnd.docker.reference.type"  # "attestation-manifest"
ANNOTATION_REFERENCE_DIGEST: Final = "vnd.docker.reference.digest"

MAX_DOCUMENT_BYTES: Final = 8 << 20

T = TypeVar("T")


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """Absent is the default; so is null, where the field's type has None."""


class OciPlatform(_Document, frozen=True, kw_only=True):
    """What an image runs on. Go's names: "linux", "amd64", "arm64" with variant "v8"."""

    architecture: str = ""
    os: str = ""
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None


class OciDescriptor(_Document, frozen=True, kw_only=True):
    """Points to content by its digest."""

    media_type: str = msgspec.field(default="", name="mediaType")
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: OciPlatform | None = None
    artifact_type: str | None = msgspec.field(default=None, name="artifactType")

    def annotation(self, key: str) -> str:
        """The annotation's value, "" when there is none."""
        return (self.annotations or {}).get(key, "")


class OciIndex(_Document, frozen=True, kw_only=True):
    """Several manifests under one digest, mostly one for each platform."""

    media_type: str = msgspec.field(default="", name="mediaType")
    manifests: list[OciDescriptor] | None = None


class OciManifest(_Document, frozen=True, kw_only=True):
    """One image for one platform: its configuration and its layers, lowest first."""

    media_type: str = msgspec.field(default="", name="mediaType")
    config: OciDescriptor
    layers: list[OciDescriptor] | None = None


class HealthcheckConfig(_Document, frozen=True, kw_only=True):
    """Durations in nanoseconds; 0 inherits."""

    test: list[str] | None = msgspec.field(default=None, name="Test")
    interval_ns: int = msgspec.field(default=0, name="Interval")
    timeout_ns: int = msgspec.field(default=0, name="Timeout")
    start_period_ns: int = msgspec.field(default=0, name="StartPeriod")
    start_interval_ns: int = msgspec.field(default=0, name="StartInterval")
    retries: int = msgspec.field(default=0, name="Retries")


class RunConfig(_Document, frozen=True, kw_only=True):
    """What a container made from the image starts with. None is "not said in the image"."""

    user: str | None = msgspec.field(default=None, name="User")
    exposed_ports: dict[str, dict[str, Any] | None] | None = msgspec.field(
        default=None, name="ExposedPorts"
    )
    env: list[str] | None = msgspec.field(default=None, name="Env")
    entrypoint: list[str] | None = msgspec.field(default=None, name="Entrypoint")
    cmd: list[str] | None = msgspec.field(default=None, name="Cmd")
    volumes: dict[str, dict[str, Any] | None] | None = msgspec.field(default=None, name="Volumes")
    working_dir: str | None = msgspec.field(default=None, name="WorkingDir")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")
    stop_signal: str | None = msgspec.field(default=None, name="StopSignal")
    args_escaped: bool | None = msgspec.field(default=None, name="ArgsEscaped")
    healthcheck: HealthcheckConfig | None = msgspec.field(default=None, name="Healthcheck")
    on_build: list[str] | None = msgspec.field(default=None, name="OnBuild")
    shell: list[str] | None = msgspec.field(default=None, name="Shell")


class RootFs(_Document, frozen=True, kw_only=True):
    """`diff_ids` are digests of the layers' plain tars, lowest first."""

    type: str = "layers"
    diff_ids: list[str] | None = None


class HistoryEntry(_Document, frozen=True, kw_only=True):
    """One step of the build; an empty one made no layer."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class ImageConfig(_Document, frozen=True, kw_only=True):
    """An image's configuration for one platform."""

    architecture: str = ""
    os: str = ""
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    docker_version: str | None = None
    config: RunConfig | None = None
    rootfs: RootFs | None = None
    history: list[HistoryEntry] | None = None

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers' digests, uncompressed, lowest first."""
        return () if self.rootfs is None else tuple(self.rootfs.diff_ids or ())


class OciLayout(_Document, frozen=True, kw_only=True):
    """The file that says that a directory or archive is an OCI layout."""

    version: str = msgspec.field(default="", name="imageLayoutVersion")


class ArchiveImage(_Document, frozen=True, kw_only=True):
    """One element of manifest.json in an archive of docker save. Paths are inside the archive."""

    config: str = msgspec.field(default="", name="Config")
    repo_tags: list[str] | None = msgspec.field(default=None, name="RepoTags")
    layers: list[str] | None = msgspec.field(default=None, name="Layers")


def decode_document(type_: type[T], data: bytes, what: str) -> T:
    """`data` as a `type_`.

    Raises:
        InvalidParameter: it is not JSON or does not fit; names `what`.
    """
    try:
        return typed_json.decode(data, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid {what}: {error}") from error
