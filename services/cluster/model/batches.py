"""Changes that belong together, packed into transactions of a size that the store takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.cluster.model.snapshot import Change, Transaction

MAX_CHANGES: Final = 60


def batches(groups: Iterable[tuple[Change, ...]]) -> tuple[Transaction, ...]:
    """Each group is whole in one transaction; transactions hold as many groups as fit.

    A conflict in one group takes its neighbours along, and they are decided anew. A group of more
    than `MAX_CHANGES` is a bug: ValueError.
    """
    transactions: list[Transaction] = []
    pending: list[Change] = []
    for group in groups:
        if len(group) > MAX_CHANGES:
            raise ValueError(f"{len(group)} changes cannot be made in one transaction")
        if len(pending) + len(group) > MAX_CHANGES:
            transactions.append(Transaction(tuple(pending)))
            pending = []
        pending.extend(group)
    if pending:
        transactions.append(Transaction(tuple(pending)))
    return tuple(transactions)
