"""A log that is kept in files here and sent to a server from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.containers.logs.counts import LogCounts
from services.containers.logs.file_log import FileLog, Packing
from services.containers.logs.local_records import LocalRecords
from services.containers.logs.options import FileOptions
from services.containers.logs.remote.driver import Driver
from services.containers.logs.remote.outbox import Outbox
from services.containers.logs.remote.shipper import Shipper

MARK_NAME: Final = "sent-upto"


class RemoteLog(FileLog):
    """A `FileLog` whose lines a `Shipper` sends. To be given to `Shipping`."""

    spares_unread = True

    def __init__(
        self,
        path: Path,
        options: FileOptions,
        *,
        container_id: str,
        make_driver: Callable[[], Driver],
        waiting_bytes: int,
        blocks: bool,
        counts: LogCounts,
        packing: Packing | None = None,
    ) -> None:
        """`blocks`: a process may be held up by a server that is there and slow."""
        tally = _Tally(counts)
        super().__init__(path, options, LocalRecords(), counts=tally, packing=packing)
        self._tally = tally
        self.shipper = Shipper(
            container_id=container_id,
            outbox=Outbox(self.files, path.parent / MARK_NAME, container_id),
            feed=self.feed,
            make_driver=make_driver,
            limit_bytes=waiting_bytes,
            blocks=blocks,
            counts=counts,
        )

    def announce(self, *, ended: bool = False) -> None:
        """See `FileLog`; also to whom sends it."""
        super().announce(ended=ended)
        self.shipper.announced(self._tally.size_bytes)


class _Tally(LogCounts):
    """Counts for all logs together, and what this one has had in all."""

    def __init__(self, all_logs: LogCounts) -> None:
        super().__init__()
        self._all_logs = all_logs
        self.size_bytes = 0

    def write(self, *, lines: int, size_bytes: int) -> None:
        """See `LogCounts`."""
        self._all_logs.write(lines=lines, size_bytes=size_bytes)
        self.size_bytes += size_bytes

    def drop(self, *, lines: int, size_bytes: int) -> None:
        """See `LogCounts`."""
        self._all_logs.drop(lines=lines, size_bytes=size_bytes)

    def refuse(self, *, lines: int, size_bytes: int) -> None:
        """See `LogCounts`."""
        self._all_logs.refuse(lines=lines, size_bytes=size_bytes)
