"""What goes to a registry in a push: decided from what is here, before anything is sent.

Source: moby, daemon/containerd/image_push.go: of an index of which only some platforms are here,
the one that suits this machine is pushed alone, and the client is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from services.errors import NotFound
from services.images.oci import (
    INDEX_TYPES,
    OciDescriptor,
    OciIndex,
    OciManifest,
    decode_document,
)
from services.images.platform import Platform
from services.images.reference import Reference

from .choice import choose
from .manifests import MAX_BYTES, Document
from .ports import ContentClient
from .progress import Board

MAX_NESTING: Final = 4
NOT_ALL_HERE: Final = (
    "missing content: {}: not found\n"
    "Note: You're trying to push a manifest list/index which references multiple platform "
    "specific manifests, but not all of them are available locally or available to the remote "
    "repository.\nMake sure you have all the referenced content and try again."
)


@dataclass(slots=True)
class PushPlan:
    """What goes, in order: blobs, then documents, the last one under the tag."""

    documents: list[Document] = field(default_factory=list)
    layers: dict[str, OciDescriptor] = field(default_factory=dict)
    configs: dict[str, OciDescriptor] = field(default_factory=dict)


class PushPlanner:
    """Reads images' documents, and lists what they need."""

    def __init__(self, content: ContentClient, *, host: Platform) -> None:
        self._content, self._host = content, host

    async def plan(
        self,
        target: OciDescriptor,
        platform: Platform | None,
        reference: Reference,
        board: Board,
    ) -> PushPlan:
        """All that `target` needs; of an index of which not all is here, one manifest's.

        Raises:
            NotFound: that is not here, or not for this platform.
        """
        plan = PushPlan()
        if target.media_type in INDEX_TYPES:
            chosen = await self._alone(target, platform, reference)
            if chosen is not None and platform is None:
                board.aux(
                    {
                        "manifestPushedInsteadOfIndex": True,
                        "originalIndex": _to_wire(target),
                        "selectedManifest": _to_wire(chosen),
                    }
                )
            target = chosen or target
        await self._gather(plan, target, 0)
        return plan

    async def _alone(
        self, target: OciDescriptor, platform: Platform | None, reference: Reference
    ) -> OciDescriptor | None:
        """The manifest to push instead of the index; None to push the index whole."""
        index = decode_document(OciIndex, (await self._read(target)).data, f"index {target.digest}")
        children = index.manifests or []
        here = [child for child in children if not await self._missing(child, 1)]
        if platform is None and len(here) == len(children):
            return None
        chosen = choose(here, platform or self._host, strict=platform is not None)
        if chosen is not None:
            return chosen
        if platform is not None:
            raise NotFound(
                f"image with reference {reference.familiar} was found but does not provide the "
                f"specified platform ({platform})"
            )
        missing = next(child for child in children if child not in here)
        raise NotFound(NOT_ALL_HERE.format(missing.digest))

    async def _missing(self, descriptor: OciDescriptor, depth: int) -> bool:
        """Whether some of what a manifest or index needs is not here."""
        try:
            document = await self._read(descriptor)
            if descriptor.media_type in INDEX_TYPES:
                index = decode_document(OciIndex, document.data, f"index {descriptor.digest}")
                children = index.manifests or []
                if depth > MAX_NESTING:
                    return True
                return any([await self._missing(child, depth + 1) for child in children])
            manifest = decode_document(OciManifest, document.data, f"manifest {descriptor.digest}")
            for blob in (manifest.config, *(manifest.layers or ())):
                await self._content.info(blob.digest)
        except NotFound:
            return True
        return False

    async def _gather(self, plan: PushPlan, descriptor: OciDescriptor, depth: int) -> None:
        """Everything under `descriptor`, children first."""
        document = await self._read(descriptor)
        if descriptor.media_type in INDEX_TYPES and depth < MAX_NESTING:
            index = decode_document(OciIndex, document.data, f"index {descriptor.digest}")
            for child in index.manifests or ():
                await self._gather(plan, child, depth + 1)
        else:
            manifest = decode_document(OciManifest, document.data, f"manifest {descriptor.digest}")
            plan.configs[manifest.config.digest] = manifest.config
            plan.layers |= {layer.digest: layer for layer in manifest.layers or ()}
        plan.documents.append(document)

    async def _read(self, descriptor: OciDescriptor) -> Document:
        data = await self._content.read_all(descriptor.digest, MAX_BYTES)
        return Document(descriptor=descriptor, data=data)


def _to_wire(descriptor: OciDescriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
