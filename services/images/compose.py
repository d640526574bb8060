"""A new image: of another one's layers and one more, with a configuration of its own.

What `docker commit` and `docker import` end in. Layer, configuration, manifest, snapshots are made
under a lease; the name comes last, and until then nobody sees anything. Killed before, the next
start of the engine takes it all away.

Source: OCI image-spec, config.md and manifest.md; moby, daemon/containerd/image_commit.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import trio

from services.containerd.errors import AlreadyExists
from services.containerd.values import LeaseResource

from .layers import Layer, LayerSource, store_layer
from .leases import WorkingLeases
from .model import Image, sha256_digest
from .oci import OCI_CONFIG, OCI_MANIFEST, HistoryEntry, OciDescriptor, RunConfig
from .platform import Platform
from .ports import ContainerdClient
from .unpack import Unpacker

_REF: Final = "containerd.io/gc.ref.content."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to make. Without a `layer` the files are those of `base`; without a `base`, nothing. A
    `Layer` is one of another image that is here.

    `step` is the last line of the history, if there is one; its time is the image's. `earlier` are
    steps before it that have changed nothing but the configuration.
    """

    base: Image | None
    layer: LayerSource | Layer | None
    config: RunConfig
    platform: Platform
    author: str
    step: HistoryEntry | None
    earlier: tuple[HistoryEntry, ...] = ()


NameGiver = Callable[[OciDescriptor], Awaitable[None]]


class Composer:
    """Makes images. Any number at the same time; each holds one worker thread."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        unpacker: Unpacker,
        leases: WorkingLeases,
        limiter: trio.CapacityLimiter,
    ) -> None:
        self._containerd, self._unpacker, self._leases = containerd, unpacker, leases
        self._limiter = limiter

    async def compose(self, recipe: Recipe, name: NameGiver) -> OciDescriptor:
        """Make the image, hand its target to `name`; it exists once that returns.

        Raises:
            InvalidParameter: the layer is no tar. Nothing is left of it.
        """
        async with self._leases.hold() as lease_id:
            layers = await self._held_layers(recipe.base, lease_id)
            if isinstance(recipe.layer, Layer):
                await self._hold(recipe.layer.descriptor, lease_id)
                layers.append(recipe.layer)
            elif recipe.layer is not None:
                layers.append(
                    await store_layer(
                        recipe.layer,
                        containerd=self._containerd,
                        lease_id=lease_id,
                        limiter=self._limiter,
                    )
                )
            descriptors = [layer.descriptor for layer in layers]
            diff_ids = [layer.diff_id for layer in layers]
            config = await self._store(OCI_CONFIG, _config(recipe, diff_ids), lease_id)
            document = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": _pointer(config),
                "layers": [_pointer(descriptor) for descriptor in descriptors],
            }
            manifest = await self._store(OCI_MANIFEST, document, lease_id)
            labels = {f"{_REF}config": config.digest}
            labels |= {f"{_REF}l.{n}": layer.digest for n, layer in enumerate(descriptors)}
            await self._containerd.content.update_labels(manifest.digest, labels)
            await self._unpacker.unpack(config, descriptors, diff_ids, lease_id=lease_id)
            await name(manifest)
        return manifest

    async def _held_layers(self, base: Image | None, lease_id: str) -> list[Layer]:
        """The layers of `base`, which nobody takes away while we work."""
        if base is None:
            return []
        for layer in base.layers:
            await self._hold(layer, lease_id)
        return [
            Layer(descriptor=descriptor, diff_id=diff_id)
            for descriptor, diff_id in zip(base.layers, base.diff_ids, strict=True)
        ]

    async def _store(
        self, media_type: str, document: dict[str, Any], lease_id: str
    ) -> OciDescriptor:
        data = msgspec.json.encode(document)
        digest = sha256_digest(data)
        try:
            async with self._containerd.content.writer(
                f"{lease_id}-{digest}", total=len(data), expected=digest
            ) as writer:
                if missing := data[writer.offset :]:  # none if another namespace has it
                    await writer.write(missing)
                await writer.commit()
        except AlreadyExists:
            await self._containerd.leases.add_resource(
                lease_id, LeaseResource(id=digest, type="content")
            )
        return OciDescriptor(media_type=media_type, digest=digest, size=len(data))

    async def _hold(self, layer: OciDescriptor, lease_id: str) -> None:
        resource = LeaseResource(id=layer.digest, type="content")
        await self._containerd.leases.add_resource(lease_id, resource)


def run_config_to_json(config: RunConfig) -> dict[str, Any]:
    """As an image's configuration has it: what it does not say is left out."""
    said = msgspec.to_builtins(config)
    for name in ("ExposedPorts", "Volumes"):
        said[name] = {key: {} for key in said.get(name) or ()}
    if said.get("Healthcheck"):
        said["Healthcheck"] = {key: v for key, v in said["Healthcheck"].items() if v}
    return {key: value for key, value in said.items() if value}


def _config(recipe: Recipe, diff_ids: Sequence[str]) -> dict[str, Any]:
    before = () if recipe.base is None else recipe.base.history
    steps = () if recipe.step is None else (recipe.step,)
    document = {
        "architecture": recipe.platform.architecture,
        "os": recipe.platform.os,
        "variant": recipe.platform.variant,
        "created": None if recipe.step is None else recipe.step.created,
        "author": recipe.author,
        "config": run_config_to_json(recipe.config),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [_said(step) for step in (*before, *recipe.earlier, *steps)],
    }
    kept = ("config", "rootfs", "history", "architecture", "os")
    return {key: value for key, value in document.items() if value or key in kept}


def _said(step: HistoryEntry) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(step).items() if value}


def _pointer(descriptor: OciDescriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
