"""Which images a list shows."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter, NotFound
from services.images.filters import ImageFilters, _compile_pattern, select
from tests.services.images.samples import catalog, id_of, image

OLD = image("1", "docker.io/library/busybox:1", created_at_ns=1, labels={"a": "b"})
NEW = image("2", "docker.io/someone/app:2", created_at_ns=2, labels={"a": "c", "x": ""})
LOST = image("3", f"moby-dangling@{id_of('3')}", created_at_ns=3)
ALL = catalog(OLD, NEW, LOST)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (ImageFilters(), {LOST.id, NEW.id, OLD.id}),
        (ImageFilters(dangling=True), {LOST.id}),
        (ImageFilters(dangling=False), {OLD.id, NEW.id}),
        (ImageFilters(labels=("a",)), {OLD.id, NEW.id}),
        (ImageFilters(labels=("a=b",)), {OLD.id}),
        (ImageFilters(labels=("a", "x=")), {NEW.id}),
        (ImageFilters(not_labels=("a=b",)), {NEW.id, LOST.id}),
        (ImageFilters(before=("someone/app:2",)), {OLD.id}),
        (ImageFilters(since=("busybox:1",)), {NEW.id, LOST.id}),
        (ImageFilters(until_ns=2), {OLD.id}),
        (ImageFilters(references=("busybox",)), {OLD.id}),
        (ImageFilters(references=("busybox:1",)), {OLD.id}),
        (ImageFilters(references=("busybox:2",)), set()),
        (ImageFilters(references=("*",)), {OLD.id}),
        (ImageFilters(references=("*/*", "busy*:?")), {OLD.id, NEW.id}),
        (ImageFilters(references=("[a-c]usybox",)), {OLD.id}),
        (ImageFilters(references=("[^a-c]usybox",)), set()),
    ],
)
def test_selection(filters: ImageFilters, expected: set[str]) -> None:
    """Each filter lets through what dockerd's does."""
    assert {each.id for each in select(ALL, filters)} == expected


def test_unknown_image_in_a_filter() -> None:
    """before and since must name an image."""
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        select(ALL, ImageFilters(before=("nothing",)))


@pytest.mark.parametrize("pattern", ["[", "[]", "[^]", "a[b", "[z-a]"])
def test_bad_patterns(pattern: str) -> None:
    """A pattern that Go would not take is the client's mistake."""
    with pytest.raises(InvalidParameter, match="syntax error in pattern"):
        select(ALL, ImageFilters(references=(pattern,)))


@given(st.text(alphabet="ab*?.:", max_size=8), st.text(alphabet="ab.:", max_size=8))
def test_patterns_agree_with_fnmatch_where_they_mean_the_same(pattern: str, text: str) -> None:
    """Without slashes and brackets the rules are the shell's."""
    assert bool(_compile_pattern(pattern).fullmatch(text)) == fnmatch.fnmatchcase(text, pattern)
