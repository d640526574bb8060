"""Changes are packed into transactions that the store takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.model.batches import MAX_CHANGES, batches
from services.cluster.model.objects import Task
from services.cluster.model.snapshot import Put

AT = datetime(2026, 11, 29, tzinfo=UTC)


def change(name: str) -> Put:
    return Put(Task(id=name, created_at=AT, updated_at=AT))


@given(st.lists(st.integers(1, MAX_CHANGES), max_size=20))
def test_groups_stay_whole_and_in_order(sizes: list[int]) -> None:
    groups = [tuple(change(f"{g}.{n}") for n in range(size)) for g, size in enumerate(sizes)]
    made = batches(groups)
    assert all(0 < len(one.changes) <= MAX_CHANGES for one in made)
    assert [c for one in made for c in one.changes] == [c for group in groups for c in group]
    where = {id(c): index for index, one in enumerate(made) for c in one.changes}
    assert all(len({where[id(c)] for c in group}) == 1 for group in groups)


def test_a_group_that_never_fits_is_a_bug() -> None:
    with pytest.raises(ValueError, match="61 changes"):
        batches([tuple(change(str(n)) for n in range(61))])
