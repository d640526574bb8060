"""Whether updates of one object were made one after the other, each as it was acknowledged.

An update is made at one version, and brings a number that no other one does. So the number that
stood there before leads from each update to the one that it followed, and from what stands there in
the end back to the first: a chain, on which all that was acknowledged must be, and nothing else
but what nobody got an answer for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .history import Read, Write


def check_chain(
    subject: str, first: int, writes: Sequence[Write], last: int, content: str
) -> Iterator[str]:
    """`first`: the number that the object was made with; `last` and `content`: how it ended."""
    by_value = {write.value: write for write in writes if write.value}
    chain: list[Write] = []
    value = last
    while value != first:
        write = by_value.pop(value, None)
        if write is None:
            yield f"{subject}: {value} stands there, which nobody has written, or twice"
            return
        if write.ok is False:
            yield f"{subject}: {_told(write)}, and it was made"
        chain.append(write)
        value = write.before
    chain.reverse()
    for write in by_value.values():
        if write.ok:
            yield f"{subject}: {_told(write)}, and it is lost"
    yield from _check_order(subject, chain)
    if chain and chain[-1].content != content:
        yield f"{subject}: it ends as {content}, and the last update was {chain[-1].content}"


def _check_order(subject: str, chain: Sequence[Write]) -> Iterator[str]:
    """Versions grow, and none is before one that had begun only after its end."""
    latest: Write | None = None
    for before, write in pairwise((None, *chain)):
        if before is not None and write is not None and write.seen <= before.seen:
            yield f"{subject}: version {write.seen} follows version {before.seen}"
        assert write is not None
        if latest is not None and write.ok and write.ended_s < latest.began_s:
            yield (
                f"{subject}: {write.value} was acknowledged at {write.ended_s:.2f} s, and stands "
                f"behind {latest.value}, which was asked for at {latest.began_s:.2f} s"
            )
        if latest is None or write.began_s > latest.began_s:
            latest = write


def check_reads(subject: str, reads: Sequence[Read], writes: Sequence[Write]) -> Iterator[str]:
    """A version has one content, wherever it is read; no manager goes back; whoever was told that
    an update is made reads it, or a later one, at the same manager."""
    contents: dict[int, str] = {}
    for read in reads:
        if contents.setdefault(read.version, read.content) != read.content:
            yield (
                f"{subject}: version {read.version} is {read.content} at {read.host}, and "
                f"{contents[read.version]} elsewhere"
            )
    for host in sorted({read.host for read in reads}):
        own = [read for read in reads if read.host == host]
        yield from _check_monotone(subject, host, own)
        acknowledged = [write for write in writes if write.ok and write.host == host]
        yield from _check_own(subject, host, own, acknowledged)


def _check_monotone(subject: str, host: str, reads: Sequence[Read]) -> Iterator[str]:
    newest: Read | None = None  # of those that had ended
    ended = sorted(reads, key=lambda read: read.ended_s)
    at = 0
    for read in sorted(reads, key=lambda read: read.began_s):
        while at < len(ended) and ended[at].ended_s < read.began_s:
            if newest is None or ended[at].version > newest.version:
                newest = ended[at]
            at += 1
        if newest is not None and read.version < newest.version:
            yield (
                f"{subject}: {host} showed version {newest.version} at {newest.ended_s:.2f} s, "
                f"and {read.version} at {read.began_s:.2f} s"
            )


def _check_own(
    subject: str, host: str, reads: Sequence[Read], writes: Sequence[Write]
) -> Iterator[str]:
    ended = sorted(writes, key=lambda write: write.ended_s)
    at, seen = 0, 0
    for read in sorted(reads, key=lambda read: read.began_s):
        while at < len(ended) and ended[at].ended_s < read.began_s:
            seen = max(seen, ended[at].seen)
            at += 1
        if read.version <= seen:
            yield (
                f"{subject}: {host} acknowledged an update of version {seen}, and showed version "
                f"{read.version} at {read.began_s:.2f} s"
            )


def _told(write: Write) -> str:
    word = "acknowledged" if write.ok else "refused"
    return (
        f"{write.what} to {write.value} at {write.host} ({write.began_s:.2f}-{write.ended_s:.2f} "
        f"s) was {word} ({write.answer})"
    )
