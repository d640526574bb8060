"""Images on the wire. Source: Engine API, schemas ImageSummary, ImageInspect and those they hold.

What differs below some version of the API is what dockerd answers there (its image router).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.api.types.times import NEVER, rfc3339_nano
from services.api.versions.version import ApiVersion
from services.images import (
    Deleted,
    HistoryEntry,
    Image,
    ImageUse,
    Manifest,
    OciDescriptor,
    Platform,
    Untagged,
)
from services.images.attestations import Attestation
from services.images.times import parse_rfc3339_ns

VIRTUAL_SIZE_BELOW: Final = ApiVersion(1, 44)
CONTAINER_CONFIG_BELOW: Final = ApiVersion(1, 45)
DESCRIPTOR_SINCE: Final = ApiVersion(1, 48)
SHORT_CONFIG_SINCE: Final = ApiVersion(1, 50)
CONTAINERS_SINCE: Final = ApiVersion(1, 51)
SHORT_INSPECT_SINCE: Final = ApiVersion(1, 52)
EMPTY_NAMES_SINCE: Final = ApiVersion(1, 43)
UNKNOWN: Final = -1
"""In place of a number that was not asked for."""

NO_ORIGINS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})

# What an image's configuration held below 1.52 even if the image says nothing of it.
_CONFIG_1_50: Final = MappingProxyType(
    {
        "User": "", "Env": None, "Cmd": None, "Volumes": None, "WorkingDir": "",
        "Entrypoint": None, "OnBuild": None, "Labels": None,
    }
)  # fmt: skip
_CONFIG_1_49: Final = MappingProxyType(
    {
        "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Image": "",
        **_CONFIG_1_50,
    }
)  # fmt: skip


def summary_to_wire(
    image: Image,
    *,
    version: ApiVersion,
    uses: Sequence[ImageUse],
    shared_bytes: int = UNKNOWN,
    manifests: bool = False,
    origins: Mapping[str, Sequence[str]] = NO_ORIGINS,
) -> dict[str, Any]:
    """One element of GET /images/json. `origins`: where manifests came from, by their digests."""
    tags, digests = list(image.repo_tags), list(image.repo_digests)
    if version < EMPTY_NAMES_SINCE and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    wire: dict[str, Any] = {
        "Containers": len(uses) if version >= CONTAINERS_SINCE else UNKNOWN,
        "Created": _created_ns(image) // 10**9,
        "Id": image.id,
        "Labels": image.labels,
        "ParentId": "",
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared_bytes,
        "Size": image.size_bytes,
    }
    if manifests:
        wire["Manifests"] = [
            manifest_to_wire(m, image, uses, origins.get(m.descriptor.digest, ()))
            for m in image.manifests
        ]
    if version >= DESCRIPTOR_SINCE:
        wire["Descriptor"] = descriptor_to_wire(image.target)
    if version < VIRTUAL_SIZE_BELOW:
        wire["VirtualSize"] = image.size_bytes
    return wire


def inspect_to_wire(
    image: Image,
    *,
    version: ApiVersion,
    uses: Sequence[ImageUse],
    snapshotter: str,
    platform: Platform | None = None,
    manifests: bool = False,
    origins: Sequence[str] = (),
) -> dict[str, Any]:
    """The answer of GET /images/{name}/json; of one platform's manifest when that was asked for."""
    target = image.target if platform is None or image.manifest is None else image.manifest
    config = image.config
    wire: dict[str, Any] = {
        "Id": target.digest,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        **_texts(image, version),
        "Config": config_to_wire(image, version),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.content_bytes,
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": _instant(image.last_tagged_at_ns)},
    }
    wire |= _present(Variant=config.variant, OsVersion=config.os_version)
    if image.created_at_ns is not None or version < VIRTUAL_SIZE_BELOW:
        wire["Created"] = _instant(image.created_at_ns)
    if version < SHORT_INSPECT_SINCE:
        wire["GraphDriver"] = {"Name": snapshotter, "Data": {}}
    if version < CONTAINER_CONFIG_BELOW:
        wire |= {"Container": "", "ContainerConfig": None}
    if version < VIRTUAL_SIZE_BELOW:
        wire["VirtualSize"] = image.content_bytes
    if version >= DESCRIPTOR_SINCE:
        wire["Descriptor"] = descriptor_to_wire(target)
    if manifests:
        wire["Manifests"] = [manifest_to_wire(m, image, uses) for m in image.manifests]
    return wire | _present(Identity=identity_to_wire(origins))


def config_to_wire(image: Image, version: ApiVersion) -> dict[str, Any]:
    """Schema ImageConfig: what the image says, and below 1.52 nothing for what it does not."""
    config = image.config.config
    said = {} if config is None else msgspec.to_builtins(config)
    if said.get("Healthcheck"):
        said["Healthcheck"] = _present(**said["Healthcheck"])
    if said.get("ExposedPorts"):
        said["ExposedPorts"] = {port: {} for port in said["ExposedPorts"]}
    if said.get("Volumes"):
        said["Volumes"] = {path: {} for path in said["Volumes"]}
    unsaid: Mapping[str, object] = {}
    if version < SHORT_INSPECT_SINCE:
        unsaid = _CONFIG_1_50 if version >= SHORT_CONFIG_SINCE else _CONFIG_1_49
    return {**unsaid, **_present(**said)}


def identity_to_wire(origins: Sequence[str]) -> dict[str, Any]:
    """Schema Identity, as far as it is known here: where an image was pulled from or pushed to."""
    return _present(Pull=[{"Repository": name} for name in origins])


def manifest_to_wire(
    manifest: Manifest, image: Image, uses: Sequence[ImageUse], origins: Sequence[str] = ()
) -> dict[str, Any]:
    """Schema ImageManifestSummary."""
    wire: dict[str, Any] = {
        "ID": manifest.descriptor.digest,
        "Descriptor": descriptor_to_wire(manifest.descriptor),
        "Available": manifest.is_available,
        "Size": {
            "Content": manifest.content_bytes,
            "Total": manifest.content_bytes + manifest.unpacked_bytes,
        },
        "Kind": manifest.kind,
    }
    if manifest.kind == "attestation":
        wire["AttestationData"] = {"For": manifest.attests}
    elif manifest.kind == "image":
        digest = manifest.descriptor.digest
        usual = "" if image.manifest is None else image.manifest.digest
        wire["ImageData"] = {
            "Platform": _platform_to_wire(manifest.platform),
            "Containers": [u.container_id for u in uses if (u.manifest or usual) == digest],
            "Size": {"Unpacked": manifest.unpacked_bytes},
            **_present(Identity=identity_to_wire(origins)),
        }
    return wire


def descriptor_to_wire(descriptor: OciDescriptor) -> dict[str, Any]:
    """Schema OCIDescriptor, without what the descriptor does not say."""
    wire = _present(**msgspec.to_builtins(descriptor))
    if "platform" in wire:
        wire["platform"] = _present(**wire["platform"])
    return {**wire, "size": descriptor.size}


def history_to_wire(image: Image, layer_bytes: Sequence[int]) -> list[dict[str, Any]]:
    """The answer of GET /images/{name}/history, last step first.

    `layer_bytes` are the unpacked sizes of the layers, lowest first; where they end early, the
    rest is 0. Only the image itself has an id: the steps before it have none of their own.
    """
    sizes = iter(layer_bytes)
    steps = [
        _step_to_wire(step, 0 if step.empty_layer else next(islice(sizes, 1), 0))
        for step in image.history
    ]
    steps.reverse()
    if steps:
        steps[0] |= {"Id": image.id, "Tags": list(image.repo_tags)}
    return steps


def attestation_to_wire(attestation: Attestation) -> dict[str, Any]:
    """Schema AttestationStatement."""
    wire: dict[str, Any] = {
        "Descriptor": descriptor_to_wire(attestation.descriptor),
        "PredicateType": attestation.predicate_type,
    }
    if attestation.statement is not None:
        wire["Statement"] = attestation.statement
    return wire


def removed_to_wire(removed: Sequence[Untagged | Deleted]) -> list[dict[str, str]]:
    """The answer of DELETE /images/{name} (schema ImageDeleteResponseItem)."""
    return [
        {"Untagged": one.name} if isinstance(one, Untagged) else {"Deleted": one.id}
        for one in removed
    ]


def _step_to_wire(step: HistoryEntry, size_bytes: int) -> dict[str, Any]:
    created_ns = parse_rfc3339_ns(step.created)
    return {
        "Id": "<missing>",
        "Created": 0 if created_ns is None else created_ns // 10**9,
        "CreatedBy": step.created_by or "",
        "Tags": [],
        "Size": size_bytes,
        "Comment": step.comment or "",
    }


def _texts(image: Image, version: ApiVersion) -> dict[str, str]:
    """What people wrote; from 1.52 on only where they did."""
    comment = (image.history[-1].comment or "") if image.history else ""
    author = image.config.author or ""
    if version < SHORT_INSPECT_SINCE:
        return {"Parent": "", "Comment": comment, "DockerVersion": "", "Author": author}
    return _present(Comment=comment, Author=author)


def _created_ns(image: Image) -> int:
    """As the image says; where it does not, since when it is here."""
    if image.created_at_ns is not None:
        return image.created_at_ns
    return min((name.created_at_ns for name in image.names), default=0)


def _platform_to_wire(platform: Platform | None) -> dict[str, str]:
    if platform is None:
        return {"architecture": "", "os": ""}
    wire = {"architecture": platform.architecture, "os": platform.os}
    return wire | _present(variant=platform.variant)


def _instant(at_ns: int | None) -> str:
    return NEVER if at_ns is None else rfc3339_nano(at_ns)


def _present(**members: Any) -> dict[str, Any]:
    """Those that say something: Go's omitempty."""
    return {name: value for name, value in members.items() if value}
