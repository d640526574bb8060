"""What a client sees of an image's layers while they come: a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from services.images.oci import OciDescriptor
from services.images.unpack import UnpackSteps

from .progress import Board


def short(digest: str) -> str:
    """What stands for a blob on a client's screen."""
    return digest.partition(":")[2][:12]


class Silent:
    """For a blob that has no line."""

    def starting(self) -> None:
        """See FetchWatch."""

    def waiting(self) -> None:
        """See FetchWatch."""

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """See FetchWatch."""

    def retrying(self, in_s: float) -> None:
        """See FetchWatch."""

    def verifying(self) -> None:
        """See FetchWatch."""


@dataclass(slots=True, kw_only=True)
class LayerWatch:
    """One layer's line while it is fetched, and the event that it is here."""

    board: Board
    id: str
    here: trio.Event = field(default_factory=trio.Event)
    is_fetched: bool = False
    is_unpacked: bool = False

    def end(self, *, fetched: bool, is_new: bool) -> None:
        """Its blob is here. Of an image that was here before, only what was missing is told."""
        self.is_fetched = fetched
        if fetched or is_new:
            self.board.action(self.id, "Download complete" if fetched else "Already exists")
        self.here.set()

    def starting(self) -> None:
        """See FetchWatch."""
        self.board.action(self.id, "Pulling fs layer")

    def waiting(self) -> None:
        """See FetchWatch."""
        self.board.action(self.id, "Waiting")

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """See FetchWatch."""
        self.board.count(self.id, "Downloading", done_bytes, total_bytes)

    def retrying(self, in_s: float) -> None:
        """See FetchWatch."""
        seconds = max(1, round(in_s))
        self.board.action(self.id, f"Retrying in {seconds} second{'s' if seconds > 1 else ''}")

    def verifying(self) -> None:
        """See FetchWatch."""
        self.board.action(self.id, "Verifying Checksum")


class LayerLines(UnpackSteps):
    """The layers' lines, and their unpacking in step with their coming."""

    def __init__(self, *, board: Board, layers: Sequence[OciDescriptor]) -> None:
        self._board, self._layers = board, layers
        self._watches = {
            layer.digest: LayerWatch(board=board, id=short(layer.digest)) for layer in layers
        }

    def watch(self, digest: str) -> LayerWatch:
        """The line of a layer."""
        return self._watches[digest]

    async def wanted(self, number: int, /) -> None:
        """See UnpackSteps."""
        await self._at(number).here.wait()

    def unpacking(self, number: int, /) -> None:
        """See UnpackSteps."""
        self._at(number).is_unpacked = True
        self._board.action(self._at(number).id, "Extracting")

    def unpacked(self, number: int, /) -> None:
        """See UnpackSteps."""
        watch = self._at(number)
        if watch.is_fetched or watch.is_unpacked:
            self._board.action(watch.id, "Pull complete")

    def _at(self, number: int) -> LayerWatch:
        return self._watches[self._layers[number].digest]
