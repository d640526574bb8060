"""Layers made into snapshots, by containerd: each once, however many images and loads want it.

The snapshot of a layer and all below it is named by its chain ID. Work in progress is under the
caller's lease, so that a crash at any point leaves nothing that the collector would not take; what
is done is kept by a label on the image's configuration.

How much a layer may expand to is bounded as with every other archive. containerd knows no such
bound, and writes out what a sparse entry leaves out; so what it writes is looked at while it does.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio
from loguru import logger

from services.containerd.errors import AlreadyExists, CallReset
from services.containerd.values import Descriptor, LeaseResource, Mount
from services.errors import EngineError, InvalidParameter, NotFound

from ._groups import single_error
from .expansion import ExpansionLimits
from .model import chain_ids
from .oci import OciDescriptor
from .ports import ContainerdClient

_CLEANUP_S: Final = 10.0
LOOKS_EVERY_S: Final = 3.0  # each look walks the tree; most layers are done before the first
UNPACK_KEY_PREFIX: Final = "wharfinger-unpack-"
LABEL_UNCOMPRESSED: Final = "containerd.io/uncompressed"
LABEL_SNAPSHOT_REF: Final = "containerd.io/gc.ref.snapshot."
# containerd's status is "unknown" whether the layer is broken or the machine; these are the words
# of the latter. Whatever else keeps a tar from being unpacked is the tar's.
_MACHINES_FAULT: Final = (
    "no space left", "quota exceeded", "input/output error", "read-only file system",
    "cannot allocate memory", "too many open files", "transport endpoint",
)  # fmt: skip
# Which call it was, and where containerd had the layer mounted: nothing that a client could use.
_CONTAINERDS_WAY: Final = re.compile(r"containerd \S+ \S+: |mount callback failed on \S+: ")

_log = logger.bind(service="images")


@dataclass(slots=True)
class _ChainLocks:
    """One lock for each chain ID somebody works on; it goes with the last who wants it."""

    _locks: dict[str, tuple[trio.Lock, int]] = field(default_factory=dict)

    @asynccontextmanager
    async def hold(self, chain_id: str) -> AsyncIterator[None]:
        lock, wanted = self._locks.get(chain_id, (trio.Lock(), 0))
        self._locks[chain_id] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            _, wanted = self._locks[chain_id]
            if wanted == 1:
                del self._locks[chain_id]
            else:
                self._locks[chain_id] = (lock, wanted - 1)


class UnpackSteps:
    """Hears of each layer of one image, by its number from the lowest. This one does nothing."""

    async def wanted(self, number: int, /) -> None:
        """The layer is next; returns once its blob is here."""

    def unpacking(self, number: int, /) -> None:
        """It is not unpacked yet, and is now."""

    def unpacked(self, number: int, /) -> None:
        """Its snapshot is there."""


class Unpacker:
    """Makes snapshots of layers. Two calls for the same layer share the work."""

    def __init__(
        self,
        containerd: ContainerdClient,
        *,
        snapshotter: str,
        limits: ExpansionLimits | None = None,
        looks_every_s: float = LOOKS_EVERY_S,
    ) -> None:
        self._containerd, self._snapshotter = containerd, snapshotter
        self._limits, self._looks_every_s = limits or ExpansionLimits(), looks_every_s
        self._locks = _ChainLocks()

    async def unpack(
        self,
        config: OciDescriptor,
        layers: Sequence[OciDescriptor],
        diff_ids: Sequence[str],
        *,
        lease_id: str,
        steps: UnpackSteps | None = None,
    ) -> str:
        """Have all layers in snapshots and the top one kept by `config`.

        `lease_id` is the lease that the caller holds and its calls are under. With `steps` the
        layers' blobs may come while the ones below are unpacked.

        Returns:
            The chain ID, the name of the top snapshot; "" when there are no layers.

        Raises:
            InvalidParameter: a layer is no tar, or not the one that the configuration promises.
        """
        if len(layers) != len(diff_ids):
            raise InvalidParameter(
                f"invalid image: {len(layers)} layers, but its configuration "
                f"{config.digest} names {len(diff_ids)}"
            )
        parent, steps = "", steps or UnpackSteps()
        chain = tuple(zip(layers, diff_ids, chain_ids(diff_ids), strict=True))
        with single_error():
            async with trio.open_nursery() as labelling:
                for number, (layer, diff_id, chain_id) in enumerate(chain):
                    await steps.wanted(number)
                    async with self._locks.hold(chain_id):
                        if not await self._hold_unpacked(chain_id, lease_id):
                            steps.unpacking(number)
                            # What is made under the lease is under it: each call saved is a sync
                            # saved.
                            await self._unpack_layer(
                                layer, diff_id, parent=parent, chain_id=chain_id, lease_id=lease_id
                            )
                            if layer.digest != diff_id:  # of a plain one everybody knows
                                labels = {LABEL_UNCOMPRESSED: diff_id}
                                # The next layer need not wait for it.
                                labelling.start_soon(
                                    self._containerd.content.update_labels, layer.digest, labels
                                )
                    steps.unpacked(number)
                    parent = chain_id
        if parent:
            label = LABEL_SNAPSHOT_REF + self._snapshotter
            await self._containerd.content.update_labels(config.digest, {label: parent})
        return parent

    async def _hold_unpacked(self, chain_id: str, lease_id: str) -> bool:
        """Put the snapshot under the lease if it is there; whether it is."""
        if not await self.is_unpacked(chain_id):
            return False
        resource = LeaseResource(id=chain_id, type=f"snapshots/{self._snapshotter}")
        await self._containerd.leases.add_resource(lease_id, resource)
        # It may have stood on the lease of a load that failed just then.
        return await self.is_unpacked(chain_id)

    async def is_unpacked(self, chain_id: str) -> bool:
        """Whether the snapshot is there."""
        try:
            await self._containerd.snapshots.stat(chain_id)
        except NotFound:
            return False
        return True

    async def _unpack_layer(
        self, layer: OciDescriptor, diff_id: str, *, parent: str, chain_id: str, lease_id: str
    ) -> None:
        snapshots = self._containerd.snapshots
        key = f"{UNPACK_KEY_PREFIX}{secrets.token_hex(6)} {chain_id}"
        try:
            mounts = await snapshots.prepare(key, parent)
            await self._apply_watched(key, layer, diff_id, mounts)
            await snapshots.commit(chain_id, key)
        except AlreadyExists:  # another tool of containerd was quicker
            await self._discard(key)
            await self._hold_unpacked(chain_id, lease_id)
        except BaseException:
            await self._discard(key)
            raise

    async def _apply_watched(
        self, key: str, layer: OciDescriptor, diff_id: str, mounts: Sequence[Mount]
    ) -> None:
        """Have it unpacked, unless it turns out to be larger than it may be."""
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, key, layer)
                await self._apply(layer, diff_id, mounts)
                nursery.cancel_scope.cancel()

    async def _watch(self, key: str, layer: OciDescriptor) -> None:
        while True:
            await trio.sleep(self._looks_every_s)
            written = (await self._containerd.snapshots.usage(key)).size_bytes
            if not self._limits.allow(written, layer.size):
                raise InvalidParameter(
                    f"layer {layer.digest} expands to more than the engine accepts: "
                    f"{written} bytes out of {layer.size}"
                )

    async def _apply(self, layer: OciDescriptor, diff_id: str, mounts: Sequence[Mount]) -> None:
        descriptor = Descriptor(
            media_type=layer.media_type, digest=layer.digest, size_bytes=layer.size
        )
        try:
            applied = await self._containerd.diff.apply(descriptor, mounts)
        except EngineError as error:
            reason = _CONTAINERDS_WAY.sub("", str(error))
            text = f"failed to unpack layer {layer.digest}: {reason}"
            is_layers = type(error) in (EngineError, CallReset)
            if is_layers and not any(words in str(error) for words in _MACHINES_FAULT):
                raise InvalidParameter(text) from error
            raise type(error)(text) from error
        if applied.digest != diff_id:
            raise InvalidParameter(
                f"wrong diff id calculated on extraction {applied.digest!r}, expected {diff_id!r}"
            )

    async def _discard(self, key: str) -> None:
        with trio.move_on_after(_CLEANUP_S, shield=True) as scope:
            try:
                await self._containerd.snapshots.remove(key)
            except NotFound:
                pass
            except EngineError as error:  # the lease's end takes it all the same
                _log.warning("unfinished snapshot not removed", key=key, error=str(error))
        if scope.cancelled_caught:
            _log.error("unfinished snapshot not removed in time", key=key, after_s=_CLEANUP_S)
