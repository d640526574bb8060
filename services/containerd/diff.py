"""containerd's diff service: layers onto mounts, and the difference of two as a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from protos.generated.containerd.services.diff.v1 import (
    ApplyRequest,
    ApplyResponse,
    DiffRequest,
    DiffResponse,
)

from ._method import BULK_RPC_LIMIT_S, Method
from ._wire import from_descriptor, from_mounts, to_descriptor
from .connection import Connection
from .values import Descriptor, Mount

LAYER_TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

_SERVICE: Final = "containerd.services.diff.v1.Diff"
APPLY: Final = Method(
    service=_SERVICE,
    name="Apply",
    request=ApplyRequest,
    reply=ApplyResponse,
    limit_s=BULK_RPC_LIMIT_S,
)
DIFF: Final = Method(
    service=_SERVICE,
    name="Diff",
    request=DiffRequest,
    reply=DiffResponse,
    limit_s=BULK_RPC_LIMIT_S,
)


class Diff:
    """Work on whole layers, done within containerd. Cancelling a call stops it there too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def apply(self, descriptor: Descriptor, mounts: Iterable[Mount]) -> Descriptor:
        """Unpack a layer of the content store; the descriptor of its uncompressed tar (diff id)."""
        request = ApplyRequest(diff=from_descriptor(descriptor), mounts=from_mounts(mounts))
        reply = await self._connection.unary(APPLY, request, descriptor.digest)
        return to_descriptor(reply.applied)

    async def diff(
        self,
        lower: Iterable[Mount],
        upper: Iterable[Mount],
        *,
        media_type: str = LAYER_TAR_GZIP,
        ref: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Store what `upper` has over `lower` as a layer; `labels` go on the new content."""
        request = DiffRequest(
            left=from_mounts(lower),
            right=from_mounts(upper),
            media_type=media_type,
            ref=ref,
            labels=dict(labels or {}),
        )
        return to_descriptor((await self._connection.unary(DIFF, request, ref)).diff)
