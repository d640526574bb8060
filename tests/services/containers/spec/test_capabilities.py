"""Capabilities: the default set, additions, drops, privileged; checked over all combinations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.spec.capabilities import (
    ALL,
    DEFAULT_CAPABILITIES,
    capability_sets,
    container_capabilities,
    normalize_capabilities,
)
from services.errors import InvalidParameter
from services.system.capabilities import CAPABILITY_NAMES

_SPELLINGS = st.sampled_from(CAPABILITY_NAMES).flatmap(
    lambda name: st.sampled_from(
        (name, name.lower(), name.removeprefix("CAP_"), name.removeprefix("CAP_").lower())
    )
)
_NAMES = st.lists(st.one_of(_SPELLINGS, st.sampled_from(("ALL", "all"))), max_size=8)


def _plain(names: list[str]) -> set[str]:
    return set(normalize_capabilities(names, CAPABILITY_NAMES))


def test_nothing_asked_gives_the_fourteen() -> None:
    """The default set is Docker's documented one."""
    got = container_capabilities(add=(), drop=(), privileged=False, available=CAPABILITY_NAMES)
    assert got == DEFAULT_CAPABILITIES
    assert len(got) == 14


@given(add=_NAMES, drop=_NAMES)
def test_sets_follow_the_rules_of_add_and_drop(add: list[str], drop: list[str]) -> None:
    """ALL added: everything not dropped. ALL dropped: the added. Else defaults - drops + adds."""
    got = container_capabilities(add=add, drop=drop, privileged=False, available=CAPABILITY_NAMES)
    adds, drops = _plain(add), _plain(drop)
    if ALL in adds:
        expected = set(CAPABILITY_NAMES) - drops
    elif ALL in drops:
        expected = adds
    else:
        expected = (set(DEFAULT_CAPABILITIES) - drops) | adds
    assert set(got) == expected
    assert len(got) == len(set(got))


@given(available=st.sets(st.sampled_from(CAPABILITY_NAMES)), privileged=st.booleans())
def test_never_more_than_we_hold(available: set[str], privileged: bool) -> None:
    """With part of the capabilities taken from the engine, containers still get the rest."""
    held = tuple(name for name in CAPABILITY_NAMES if name in available)
    got = container_capabilities(add=(), drop=(), privileged=privileged, available=held)
    assert set(got) <= available
    assert set(got) >= available & set(DEFAULT_CAPABILITIES)
    if privileged:
        assert got == held


def test_unknown_and_unavailable_names_are_refused_in_dockerds_words() -> None:
    """A name that Linux lacks, and one that we lack, have different texts."""
    with pytest.raises(InvalidParameter, match=r'^unknown capability: "CAP_FOO"$'):
        normalize_capabilities(["foo"], CAPABILITY_NAMES)
    with pytest.raises(InvalidParameter, match=r"not available in the current environment"):
        normalize_capabilities(["SYS_RESOURCE"], ("CAP_KILL",))


def test_other_users_get_a_bounding_set_only() -> None:
    """Effective and permitted are root's; nobody gets inheritable or ambient ones."""
    assert capability_sets(("CAP_KILL",), uid=1000) == {"bounding": ["CAP_KILL"]}
    assert set(capability_sets(("CAP_KILL",), uid=0)) == {"bounding", "effective", "permitted"}
