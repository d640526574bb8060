"""Patterns of paths as .dockerignore has them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.build.patterns import PathPatterns
from services.errors import InvalidParameter


@pytest.mark.parametrize(
    ("patterns", "meant", "not_meant"),
    [
        (["*.txt"], ["a.txt", "d.txt/in"], ["d/a.txt", "a.md"]),
        (["/a/b/"], ["a/b", "a/b/c/d"], ["a", "b"]),
        (["a/*/c"], ["a/x/c", "a/x/c/d"], ["a/c", "a/x/y/c", "a/x"]),
        (["**/c"], ["c", "a/c", "a/b/c/d"], ["a/b"]),
        (["a/**"], ["a/b", "a/b/c"], ["a", "b/a"]),
        (["a/**/c"], ["a/c", "a/b/c", "a/b/b/c"], ["a/b", "c"]),
        (["**"], ["a", "a/b"], []),
        (["**/a/**"], ["a/b", "x/a/y"], ["a", "x/a"]),
        (["*", "!keep"], ["a", "a/keep"], ["keep", "keep/x"]),
        (["!a", "a"], ["a"], ["b"]),
        (["d", "!d/x", "d/x/y"], ["d", "d/z", "d/x/y"], ["d/x", "d/x/z"]),
        (["a?[b-d]", r"\*"], ["axb", "*"], ["ab", "axe", "x"]),
        (["a[^b]"], ["ac"], ["ab"]),
        (["./a/../b", " c "], ["b", "c"], ["a"]),
        (["", "/", "#"], ["#"], ["a"]),
        (["a**"], ["a", "ab", "ab/c"], ["b"]),
    ],
)
def test_matches(patterns: list[str], meant: list[str], not_meant: list[str]) -> None:
    """Names, directories, exceptions; what is in a directory that is meant is too."""
    found = PathPatterns(patterns)
    assert [path for path in meant if not found.matches(path)] == []
    assert [path for path in not_meant if found.matches(path)] == []


@pytest.mark.parametrize("pattern", ["a[b", "!", "[z-a]"])
def test_malformed(pattern: str) -> None:
    """They are refused, not taken as they are."""
    with pytest.raises(InvalidParameter, match="pattern"):
        PathPatterns([pattern])


PARTS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "?"])
PATTERNS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=5).map("/".join)


def expression_of(pattern: str) -> str:
    """A regular expression of the same meaning, made as moby makes it."""
    expression, parts = "", pattern.split("/")
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            expression += ".+" if is_last else "(.*/)?"
            continue
        expression += part.replace("*", "[^/]*").replace("?", "[^/]") + ("" if is_last else "/")
    return expression + "(/.*)?"


@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=4), PATHS)
def test_they_mean_what_mobys_expressions_mean(patterns: list[tuple[bool, str]], path: str) -> None:
    """Whatever their order and number."""
    wanted = False
    for is_exception, pattern in patterns:
        if re.fullmatch(expression_of(pattern), path):
            wanted = not is_exception
    found = PathPatterns([f"{'!' * is_exception}{pattern}" for is_exception, pattern in patterns])
    assert found.matches(path) is wanted


@given(PATTERNS, PATHS, PATHS)
def test_no_directory_is_passed_by(pattern: str, directory: str, below: str) -> None:
    """If something in it is meant, it may be."""
    found = PathPatterns([pattern])
    if found.matches(f"{directory}/{below}"):
        assert found.may_match_in(directory)


def test_many_stars_take_no_time() -> None:
    """Directories are not tried in every combination."""
    assert not PathPatterns(["**/a/" * 40 + "b"]).matches("a/" * 400 + "c")
