"""Image archives made on the fly, in every format that `docker load` takes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(members: Mapping[str, bytes | str], *, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files (bytes) and symbolic links (str), in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def busybox_layer() -> bytes:
    """A root file system with busybox and a shell."""
    return tar_of(
        {
            "bin/busybox": BUSYBOX.read_bytes(),
            "bin/sh": "busybox",
            "etc/passwd": b"root:x:0:0::/:/bin/sh\n",
        }
    )


def layer_with(**files: str) -> bytes:
    return tar_of({name: text.encode() for name, text in files.items()})


@dataclass(kw_only=True)
class TestImage:
    """What to put into an archive."""

    __test__ = False

    layers: Sequence[bytes]
    tags: Sequence[str] = ("busybox:latest",)
    config: Mapping[str, Any] = field(default_factory=dict)  # the inner one
    created: str = "2024-01-02T03:04:05.123456789Z"
    architecture: str = "amd64"
    diff_ids: Sequence[str] | None = None

    @property
    def config_json(self) -> bytes:
        diff_ids = self.diff_ids or [digest_of(layer) for layer in self.layers]
        document = {
            "architecture": self.architecture,
            "os": "linux",
            "created": self.created,
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **self.config},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created_by": "test"} for _ in self.layers],
        }
        return json.dumps(document).encode()


def docker_members(*images: TestImage, legacy: bool = False) -> dict[str, bytes | str]:
    """The members of docker's own archive before 25, listing last, as it comes from docker save."""
    members: dict[str, bytes | str] = {}
    listing = []
    for number, image in enumerate(images):
        paths = []
        for position, layer in enumerate(image.layers):
            path = f"{digest_of(layer)[7:]}/layer.tar"
            if legacy and path in members:
                path, link = f"{number}{position}/layer.tar", f"../{path}"
                members[path] = link
            else:
                members[path] = layer
                members[path.replace("layer.tar", "VERSION")] = b"1.0"
                members[path.replace("layer.tar", "json")] = b"{}"
            paths.append(path)
        config = image.config_json
        members[f"{digest_of(config)[7:]}.json"] = config
        listing.append(
            {
                "Config": f"{digest_of(config)[7:]}.json",
                "RepoTags": list(image.tags) or None,
                "Layers": paths,
            }
        )
    members["manifest.json"] = json.dumps(listing).encode()
    return members


def oci_members(*images: TestImage, both: bool = False) -> dict[str, bytes | str]:
    """An OCI layout; with `both`, docker's listing beside it, as docker save writes since 25."""
    blobs: dict[str, bytes] = {}
    descriptors: list[dict[str, Any]] = []
    listing = []

    def add(data: bytes, media_type: str) -> dict[str, Any]:
        blobs["blobs/sha256/" + digest_of(data)[7:]] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    for image in images:
        config = add(image.config_json, "application/vnd.oci.image.config.v1+json")
        layers = [add(layer, "application/vnd.oci.image.layer.v1.tar") for layer in image.layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        }
        target = add(json.dumps(manifest).encode(), manifest["mediaType"])  # type: ignore[arg-type]
        descriptors += [
            {
                **target,
                "annotations": {
                    "io.containerd.image.name": f"docker.io/library/{tag}",
                    "org.opencontainers.image.ref.name": tag.partition(":")[2],
                },
            }
            for tag in image.tags
        ]
        if not image.tags:
            descriptors.append(target)
        listing.append(
            {
                "Config": "blobs/sha256/" + config["digest"][7:],
                "RepoTags": list(image.tags),
                "Layers": ["blobs/sha256/" + each["digest"][7:] for each in layers],
            }
        )
    members: dict[str, bytes | str] = dict(blobs)
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()
    members["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    if both:
        members["manifest.json"] = json.dumps(listing).encode()
    return members


async def body_of(data: bytes, *, piece: int = 65_536) -> AsyncIterator[bytes]:
    """The data as a request body brings it."""
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


def index_members(name: str, *images: TestImage) -> dict[str, bytes | str]:
    """An OCI layout of one name with an index: the images are its platforms."""
    members = oci_members(*(replace(image, tags=[]) for image in images))
    outer = json.loads(members["index.json"])
    for image, line in zip(images, outer["manifests"], strict=True):
        line["platform"] = {"os": "linux", "architecture": image.architecture}
    index = "application/vnd.oci.image.index.v1+json"
    data = json.dumps({**outer, "mediaType": index}).encode()
    members[f"blobs/sha256/{digest_of(data)[7:]}"] = data
    target = {"mediaType": index, "digest": digest_of(data), "size": len(data)}
    target["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}"}
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [target]}).encode()
    return members
