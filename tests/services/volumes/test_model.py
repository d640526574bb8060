"""services.volumes.model and .filters: names, options, and who is meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter, NotFound
from services.volumes import ANONYMOUS_LABEL, Volume, VolumeFilters
from services.volumes.model import check_driver, check_name, check_options, made_up_name


@given(st.text(max_size=300))
def test_a_good_name_stays_in_its_directory(name: str) -> None:
    """What passes is one plain path component of at least two characters."""
    try:
        check_name(name)
    except InvalidParameter:
        return
    assert 2 <= len(name) <= 255
    assert "/" not in name
    assert "\0" not in name
    assert name[0].isascii()
    assert name[0].isalnum()


@pytest.mark.parametrize("name", ["ab", "a.b", "A_b-c.d", "00", "f" * 64])
def test_docker_names_are_good(name: str) -> None:
    """Those that dockerd takes, and those that we make up."""
    check_name(name)
    check_name(made_up_name())


def test_only_the_local_driver_is_known() -> None:
    """Others are looked up as plugins, which there are none of."""
    check_driver("v", "")
    check_driver("v", "local")
    with pytest.raises(NotFound, match='create v: error looking up volume plugin x: plugin "x"'):
        check_driver("v", "x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foo": "bar"}, 'create v: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"o": "size=1m"}, 'create v: missing required option: "device"'),
        ({"device": "tmpfs"}, 'create v: missing required option: "type"'),
        ({"size": "1g"}, "no quota support"),
        ({"type": "t\0", "device": "d"}, "null byte"),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], words: str) -> None:
    """In dockerd's words."""
    with pytest.raises(InvalidParameter, match=words):
        check_options("v", options)


def test_good_options_pass() -> None:
    """None at all; or type and device, with or without more."""
    check_options("v", {})
    check_options("v", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})
    check_options("v", {"type": "none", "device": "/srv", "o": "bind"})


LABELLED = Volume(name="web-data", created_at_ns=1, labels={"a": "b", "c": ""})
PLAIN = Volume(name="0123", created_at_ns=1)


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        ({}, {"web-data", "0123"}),
        ({"names": ("eb",)}, {"web-data"}),
        ({"names": ("eb", "12")}, {"web-data", "0123"}),
        ({"names": ("^data",)}, set()),
        ({"names": ("(",)}, set()),
        ({"drivers": ("local", "x")}, {"web-data", "0123"}),
        ({"drivers": ("x",)}, set()),
        ({"labels": ("a",)}, {"web-data"}),
        ({"labels": ("a=b", "c=")}, {"web-data"}),
        ({"labels": ("a=c",)}, set()),
        ({"not_labels": ("a",)}, {"0123"}),
        ({"is_dangling": True}, {"0123"}),
        ({"is_dangling": False}, {"web-data"}),
    ],
)
def test_filters_choose(filters: dict[str, Any], chosen: set[str]) -> None:
    """All filters must hold; of one filter's values one, of labels each."""
    found = VolumeFilters(**filters)
    assert {v.name for v in (LABELLED, PLAIN) if found.choose(v, {"web-data"})} == chosen


def test_anonymous_volumes_are_known_by_their_label() -> None:
    """As dockerd knows them."""
    assert Volume(name="v1", created_at_ns=1, labels={ANONYMOUS_LABEL: ""}).is_anonymous
    assert not PLAIN.is_anonymous
