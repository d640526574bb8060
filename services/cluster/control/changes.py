"""How an operation changes the cluster: at the version that its client saw, or at any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio
from msgspec.structs import replace

from services.cluster.control.ports import ControlStore
from services.cluster.model.objects import Stored
from services.cluster.model.snapshot import Change, Snapshot, Transaction
from services.cluster.model.wire import utc_now
from services.cluster.store.contract import OutOfSequence
from services.errors import InvalidParameter, NotFound

T = TypeVar("T", bound=Stored)
R = TypeVar("R")

CATCH_UP_S: Final = 2.0
"""How long this manager may be behind the one that a client has its version from."""

ATTEMPTS: Final = 10
"""Times that a change that is meant at any version is decided anew, when others keep writing."""


async def seen(store: ControlStore, version: int) -> Snapshot:
    """A snapshot that is as new as `version`, if that exists: else, after a while, the newest."""
    with trio.move_on_after(CATCH_UP_S):
        while (snapshot := store.snapshot()).revision < version:
            await store.changed_since(snapshot.revision)
    return store.snapshot()


def at_version(found: T, version: int) -> T:
    """`found`, if it is what the client saw.

    Raises:
        OutOfSequence: it has changed since.
    """
    if found.version != version:
        raise OutOfSequence("rpc error: code = Unknown desc = update out of sequence")
    return found


def touched(changed: T) -> T:
    """`changed` with the time of its change."""
    return replace(changed, updated_at=utc_now())


async def commit(store: ControlStore, *changes: Change) -> int:
    """One transaction. Raises as `ControlStore.commit`."""
    return await store.commit(Transaction(changes))


async def after_catching_up(store: ControlStore, decide: Callable[[], R]) -> R:
    """What `decide` returns. If it does not find something it is asked once more when this manager
    has what the others have written: a client may have been told of it by one of them.

    Raises:
        NotFound, InvalidParameter: it did not find it then either.
        Unavailable: without a quorum nobody can be sure.
    """
    try:
        return decide()
    except (NotFound, InvalidParameter):
        await store.catch_up()
    return decide()


async def change_any_version(
    store: ControlStore, decide: Callable[[Snapshot], Sequence[Change]]
) -> None:
    """Write what `decide` makes of the newest snapshot; decide again when that was outrun.

    Raises:
        OutOfSequence: it was outrun ten times.
        EngineError: what `decide` raises.
    """

    def decided() -> tuple[Snapshot, Sequence[Change]]:
        snapshot = store.snapshot()
        return snapshot, decide(snapshot)

    for attempt in range(1, ATTEMPTS + 1):
        snapshot, changes = await after_catching_up(store, decided)
        try:
            await store.commit(Transaction(tuple(changes), decided_at=snapshot.revision))
        except OutOfSequence:
            if attempt == ATTEMPTS:
                raise
            with trio.move_on_after(CATCH_UP_S / ATTEMPTS):
                await store.changed_since(snapshot.revision)
        else:
            return
