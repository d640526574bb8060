"""`docker push`: an image out of containerd's content store into a registry, byte for byte.

Source: moby, daemon/containerd/image_push.go: of an index of which only some platforms are here,
the one that suits this machine is pushed alone, and the client is told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import trio

from services.containerd import ImageRecord
from services.errors import NotFound, single_error
from services.images.names import from_descriptor
from services.images.oci import (
    OciDescriptor,
)
from services.images.platform import Platform
from services.images.reference import Reference, parse_reference

from .endpoints import Endpoint
from .errors import Unreachable
from .layer_lines import short
from .manifests import Document
from .ports import ContainerdClient, ImageStore
from .progress import Board
from .push_plan import PushPlan, PushPlanner
from .requests import PushRequest
from .retry import retrying
from .session import Session, open_session
from .settings import RegistrySettings
from .transmission import Destination
from .upload import BlobUploader


class Pusher:
    """Carries pushes out, any number at a time."""

    def __init__(
        self,
        *,
        containerd: ContainerdClient,
        images: ImageStore,
        uploader: BlobUploader,
        settings: Callable[[], RegistrySettings],
        host: Platform,
        user_agent: str,
    ) -> None:
        self._containerd, self._images, self._uploader = containerd, images, uploader
        self._settings, self._user_agent = settings, user_agent
        self._planner = PushPlanner(containerd.content, host=host)

    async def push(self, request: PushRequest, board: Board) -> None:
        """Bring the image to its registry under its name, telling `board`.

        Raises:
            NotFound: there is no such image here, or not all of it.
            EngineError: the registry refuses, or cannot be reached.
        """
        reference = request.reference
        board.message(f"The push refers to repository [{reference.name}]")
        references = await self._references(reference)
        async with open_session(
            self._settings(), request.credentials, user_agent=self._user_agent
        ) as session:
            endpoint = await reachable(session, reference)
            for one in references:
                await self._push_one(session, endpoint, one, request.platform, board)

    async def _references(self, reference: Reference) -> list[Reference]:
        """The names to push: the one, or all tags of the repository that are here."""
        if not reference.is_name_only:
            await self._record(reference)  # before a registry is asked about what is not here
            return [reference]
        prefix = f"{reference.name}:"
        records = await self._containerd.images.list()
        names = [parse_reference(r.name) for r in records if r.name.startswith(prefix)]
        tagged = [name for name in names if name.name == reference.name and name.tag is not None]
        if not tagged:
            raise _absent(reference.familiar_name)
        return sorted(tagged, key=str)

    async def _record(self, reference: Reference) -> ImageRecord:
        try:
            return await self._containerd.images.get(str(reference))
        except NotFound as error:
            raise _absent(reference.familiar_name) from error

    async def _push_one(
        self,
        session: Session,
        endpoint: Endpoint,
        reference: Reference,
        platform: Platform | None,
        board: Board,
    ) -> None:
        record = await self._record(reference)
        target = from_descriptor(record.target)
        plan = await self._planner.plan(target, platform, reference, board)
        to = Destination(
            session=session, endpoint=endpoint, domain=reference.domain, repository=reference.path
        )
        await self._upload_all(to, plan, board)
        *children, top = plan.documents
        for document in children:
            await self._put(to, document, document.descriptor.digest)
        name = reference.tag or top.descriptor.digest
        await self._put(to, top, name)
        size, digest = len(top.data), top.descriptor.digest
        board.message(f"{name}: digest: {digest} size: {size}")
        board.aux({"Tag": name, "Digest": digest, "Size": size})
        await self._images.tell_pushed(reference)

    async def _upload_all(self, to: Destination, plan: PushPlan, board: Board) -> None:
        for layer in plan.layers.values():
            board.action(short(layer.digest), "Preparing")
        with single_error():
            async with trio.open_nursery() as nursery:
                for blob in plan.layers.values():
                    watch = _Line(board=board, id=short(blob.digest))
                    if _is_foreign(blob):
                        watch.ended("Skipped foreign layer")
                    else:
                        nursery.start_soon(self._uploader.upload, to, blob, watch)
                for blob in plan.configs.values():
                    if blob.digest not in plan.layers:
                        nursery.start_soon(self._uploader.upload, to, blob, _Line())

    async def _put(self, to: Destination, document: Document, name: str) -> None:
        async def once() -> None:
            async with to.session.stream(
                to.endpoint,
                "PUT",
                to.path(f"manifests/{name}"),
                scopes=to.scopes(),
                headers={
                    "Content-Type": document.descriptor.media_type,
                    "Content-Length": str(len(document.data)),
                },
                body=lambda: _whole(document.data),
            ):
                return

        await retrying(once, attempts=self._settings().max_attempts)


async def reachable(session: Session, reference: Reference) -> Endpoint:
    """The first of a registry's endpoints that speaks to us at all.

    Raises:
        Unreachable: none does; what the last one failed with.
    """
    endpoints = await session.endpoints_of(reference.domain, mirrors=False)
    for endpoint in endpoints:
        try:
            await session.ping(endpoint)
        except Unreachable:
            if endpoint is endpoints[-1]:
                raise
        else:
            return endpoint
    raise Unreachable(f"no endpoint for {reference.domain}")


@dataclass(slots=True, kw_only=True)
class _Line:
    """A blob's line; without a board it has none."""

    board: Board | None = None
    id: str = ""

    def waiting(self) -> None:
        """See UploadWatch."""
        self._say("Waiting")

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """See UploadWatch."""
        if self.board is not None:
            self.board.count(self.id, "Pushing", done_bytes, total_bytes)

    def retrying(self, in_s: float) -> None:
        """See UploadWatch."""
        seconds = max(1, round(in_s))
        self._say(f"Retrying in {seconds} second{'s' if seconds > 1 else ''}")

    def ended(self, how: str) -> None:
        """See UploadWatch."""
        self._say(how)

    def _say(self, status: str) -> None:
        if self.board is not None:
            self.board.action(self.id, status)


async def _whole(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _is_foreign(blob: OciDescriptor) -> bool:
    return ".foreign." in blob.media_type or ".nondistributable." in blob.media_type


def _absent(name: str) -> NotFound:
    return NotFound(f"An image does not exist locally with the tag: {name}")
