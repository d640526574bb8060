"""How words find images."""

from __future__ import annotations

import pytest

from services.errors import InvalidParameter, NotFound
from services.images.catalog import find
from tests.services.images.samples import catalog, id_of, image

BUSYBOX = image("abcd1", "docker.io/library/busybox:latest", "docker.io/library/busybox:1")
OTHER = image("abcd2", "localhost:5000/x:latest")
HEX_NAME = image("beef", "docker.io/library/abcd1:latest")
DANGLING = image("dddd", f"moby-dangling@{id_of('dddd')}")
ALL = catalog(BUSYBOX, OTHER, HEX_NAME, DANGLING)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("busybox", BUSYBOX),
        ("docker.io/library/busybox:1", BUSYBOX),
        ("localhost:5000/x", OTHER),
        (id_of("abcd2"), OTHER),
        (id_of("abcd2")[7:], OTHER),
        ("sha256:abcd2", OTHER),
        ("abcd20", OTHER),
        ("abcd1", HEX_NAME),  # a name wins
        ("abcd10", BUSYBOX),
        ("dddd", DANGLING),
        (f"moby-dangling@{id_of('dddd')}", DANGLING),
        (f"busybox@{id_of('abcd1')}", BUSYBOX),
        (f"busybox:other@{id_of('abcd1')}", BUSYBOX),
    ],
)
def test_found(text: str, found: object) -> None:
    """By name with and without tag, whole ID, its beginning, and digest of a repository."""
    assert find(ALL, text).image is found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo", "No such image: foo:latest"),
        ("foo:1", "No such image: foo:1"),
        ("docker.io/library/foo", "No such image: foo:latest"),
        ("busybox:2", "No such image: busybox:2"),
        ("abcd", "ambiguous reference"),
        ("ffff", "No such image: ffff:latest"),
        (id_of("1"), f"No such image: {id_of('1')}"),
        (id_of("1")[7:], f"No such image: {id_of('1')}"),
        (f"x@{id_of('abcd1')}", f"No such image: x@{id_of('abcd1')}"),
    ],
)
def test_not_found(text: str, message: str) -> None:
    """dockerd's words, which clients look for."""
    with pytest.raises(NotFound) as refusal:
        find(ALL, text)
    assert str(refusal.value) == message


def test_what_is_no_reference_is_a_mistake() -> None:
    """Words that can mean no image are refused as such."""
    with pytest.raises(InvalidParameter, match="invalid reference format"):
        find(ALL, "a b")


def test_order_is_newest_first() -> None:
    """A list goes by age, and by ID within the same age."""
    old, new, unknown = (
        image("1", created_at_ns=1),
        image("2", created_at_ns=2),
        image("3", created_at_ns=None),
    )
    assert catalog(unknown, old, new).images == (new, old, unknown)
