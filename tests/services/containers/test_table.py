"""How words find containers, and whose name is whose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.table import ContainerTable
from services.errors import Conflict, InvalidParameter, NotFound
from tests.services.api.containers import container, container_id


def table_of(*names: tuple[str, str]) -> ContainerTable:
    """A table of containers, each given by the beginning of its id and its name."""
    table = ContainerTable()
    for digits, name in names:
        table.add(container(digits, name))
    return table


@pytest.mark.parametrize("ref", ["web", "/web", container_id("ab1"), "ab1", "ab10"])
def test_found(ref: str) -> None:
    """By name, with and without the slash, by id and by a beginning that only it has."""
    assert table_of(("ab1", "web"), ("ab2", "db")).find(ref).name == "web"


@pytest.mark.parametrize(
    ("ref", "error", "text"),
    [
        ("", InvalidParameter, "No container name or ID supplied"),
        ("x", NotFound, "No such container: x"),
        ("ab", InvalidParameter, "multiple IDs found with provided prefix: ab"),
        (container_id("ab1") + "0", NotFound, f"No such container: {container_id('ab1')}0"),
    ],
)
def test_not_found(ref: str, error: type[Exception], text: str) -> None:
    """dockerd's words."""
    with pytest.raises(error) as refusal:
        table_of(("ab1", "web"), ("ab2", "db")).find(ref)
    assert str(refusal.value) == text


def test_a_name_beats_the_beginning_of_an_id() -> None:
    """And a whole id beats a name."""
    table = table_of(("ab1", "web"), ("cd", "ab1"))
    assert table.find("ab1").name == "ab1"
    assert table.find(container_id("ab1")).name == "web"


def test_a_name_has_one_owner() -> None:
    """Who is named in the refusal; a name that was let go can be had."""
    table = table_of(("ab1", "web"))
    with pytest.raises(
        Conflict, match=f'"/web" is already in use by container "{container_id("ab1")}"'
    ):
        table.reserve_name("web", container_id("c"))
    table.release_name("web", container_id("c"))  # not the owner: nothing happens
    assert table.is_name_taken("web")
    table.release_name("web", container_id("ab1"))
    table.reserve_name("web", container_id("c"))


def test_removal() -> None:
    """Gone by every word; a second time changes nothing."""
    table = table_of(("ab1", "web"), ("ab2", "db"))
    web = table.find("web")
    table.remove(web)
    revision = table.revision
    table.remove(web)
    assert table.revision == revision
    assert [one.name for one in table] == ["db"]
    assert table.find("ab").name == "db"
    with pytest.raises(NotFound):
        table.find("web")


DIGITS = st.text("ab", min_size=1, max_size=5)


@given(st.lists(DIGITS, unique_by=lambda d: d.ljust(64, "0")), st.data())
def test_prefix_search_is_what_a_plain_search_finds(ids: list[str], data: st.DataObject) -> None:
    """Against a scan of all ids, with some of them removed again."""
    table = table_of(*((digits, f"name-{n}") for n, digits in enumerate(ids)))
    left = {container_id(digits) for digits in ids}
    for digits in data.draw(st.lists(st.sampled_from(ids), unique=True) if ids else st.just([])):
        table.remove(table.find(container_id(digits)))
        left.discard(container_id(digits))
    prefix = data.draw(st.text("ab0", min_size=1, max_size=6))
    matches = [one for one in left if one.startswith(prefix)]
    if len(matches) == 1:
        assert table.find(prefix).id == matches[0]
    else:
        with pytest.raises(InvalidParameter if matches else NotFound):
            table.find(prefix)
    assert len(table) == len(left)
