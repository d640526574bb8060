"""Who is called what, as each container sees it."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from services.networks.dns.names import Address, NameBook, NamedEndpoint


def endpoint(
    container: str,
    *addresses: str,
    network: str = "net",
    names: tuple[str, ...] = (),
    links: dict[str, str] | None = None,
    leads_out: bool = True,
    priority: int = 0,
) -> NamedEndpoint:
    return NamedEndpoint(
        container_id=container,
        network=network,
        names=names or (container,),
        addresses=tuple(ip_address(address) for address in addresses),
        links=links or {},
        leads_out=leads_out,
        priority=priority,
    )


def shown(found: tuple[Address, ...] | None) -> list[str] | None:
    return None if found is None else [str(one) for one in found]


def test_names_are_seen_within_a_network_and_nowhere_else() -> None:
    """Who is not in it finds nobody there, whatever the case of the name."""
    book = NameBook()
    book.put("n1", endpoint("a", "10.0.0.2"))
    book.put("n1", endpoint("b", "10.0.0.3", names=("Bee", "alias")))
    book.put("n2", endpoint("c", "10.1.0.2", network="other"))
    assert shown(book.addresses("a", "bee")) == ["10.0.0.3"]
    assert shown(book.addresses("a", "ALIAS.")) == ["10.0.0.3"]
    assert shown(book.addresses("a", "alias.NET")) == ["10.0.0.3"]
    assert book.addresses("a", "alias.other") is None
    assert book.addresses("c", "bee") is None
    assert book.addresses("stranger", "bee") is None


def test_a_name_is_lost_with_its_place() -> None:
    """And what is put anew replaces what was there: a rename is a put."""
    book = NameBook()
    book.put("n1", endpoint("a", "10.0.0.2"))
    book.put("n1", endpoint("b", "10.0.0.3", names=("old", "alias")))
    book.put("n1", endpoint("b", "10.0.0.3", names=("new", "alias")))
    assert book.addresses("a", "old") is None
    assert shown(book.addresses("a", "new")) == ["10.0.0.3"]
    assert book.name_of("a", ip_address("10.0.0.3")) == "new.net"
    book.remove("n1", "b")
    book.remove("n1", "b")
    book.remove("never", "b")
    assert book.addresses("a", "new") is None
    assert book.addresses("a", "alias") is None
    assert book.name_of("a", ip_address("10.0.0.3")) is None


def test_one_that_is_forgotten_is_nowhere() -> None:
    """In none of its networks."""
    book = NameBook()
    book.put("n1", endpoint("a", "10.0.0.2"))
    for network in ("n1", "n2"):
        book.put(network, endpoint("b", "10.0.0.3", network=network))
    book.forget("b")
    book.forget("b")
    assert book.addresses("a", "b") is None
    assert book.addresses("b", "a") is None
    assert not book.leads_out("b")


def test_several_of_one_name_are_all_there() -> None:
    """Until one leaves."""
    book = NameBook()
    for number in (2, 3, 4):
        name = f"c{number}"
        book.put("n1", endpoint(name, f"10.0.0.{number}", names=(name, "web")))
    assert shown(book.addresses("c2", "web")) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    book.remove("n1", "c3")
    assert shown(book.addresses("c2", "web")) == ["10.0.0.2", "10.0.0.4"]


def test_the_network_of_higher_priority_is_asked_first() -> None:
    """Then the one that leads out, then by name; a name of a network picks that one."""
    book = NameBook()
    book.put("n1", endpoint("a", "10.0.0.2", network="inside", leads_out=False))
    book.put("n2", endpoint("a", "10.1.0.2", network="outside"))
    book.put("n1", endpoint("b", "10.0.0.3", network="inside", leads_out=False))
    book.put("n2", endpoint("b", "10.1.0.3", network="outside"))
    assert shown(book.addresses("a", "b")) == ["10.1.0.3"]
    assert shown(book.addresses("a", "b.inside")) == ["10.0.0.3"]
    book.put("n1", endpoint("a", "10.0.0.2", network="inside", leads_out=False, priority=5))
    assert shown(book.addresses("a", "b")) == ["10.0.0.3"]


def test_dots_may_be_part_of_names_and_of_networks() -> None:
    """`a.b.c` is itself, then `a.b` in the network `c`, then `a` in `b.c`."""
    book = NameBook()
    book.put("n1", endpoint("me", "10.0.0.2", network="b.c"))
    book.put("n2", endpoint("me", "10.1.0.2", network="c"))
    book.put("n1", endpoint("x", "10.0.0.3", network="b.c", names=("a",)))
    assert shown(book.addresses("me", "a.b.c")) == ["10.0.0.3"]
    book.put("n2", endpoint("y", "10.1.0.3", network="c", names=("a.b",)))
    assert shown(book.addresses("me", "a.b.c")) == ["10.1.0.3"]
    book.put("n1", endpoint("z", "10.0.0.4", network="b.c", names=("a.b.c",)))
    assert shown(book.addresses("me", "a.b.c")) == ["10.0.0.4"]
    assert book.addresses("me", ".c") is None
    assert book.addresses("me", "") is None


def test_a_link_is_one_containers_own_name_for_another() -> None:
    """It hides whoever is called so, in that network, and nobody else sees it."""
    book = NameBook()
    book.put("n1", endpoint("a", "10.0.0.2", links={"DB": "postgres"}))
    book.put("n1", endpoint("p", "10.0.0.3", names=("postgres",)))
    book.put("n1", endpoint("d", "10.0.0.4", names=("db",)))
    assert shown(book.addresses("a", "db")) == ["10.0.0.3"]
    assert shown(book.addresses("a", "db.net")) == ["10.0.0.3"]
    assert shown(book.addresses("p", "db")) == ["10.0.0.4"]
    book.remove("n1", "p")
    assert book.addresses("a", "db") is None


def test_the_way_out_is_any_network_that_has_one() -> None:
    """A container in internal networks only is not led out."""
    book = NameBook()
    assert not book.leads_out("a")
    book.put("n1", endpoint("a", "10.0.0.2", leads_out=False))
    assert not book.leads_out("a")
    book.put("n2", endpoint("a", "10.1.0.2", network="other"))
    assert book.leads_out("a")
    book.remove("n2", "a")
    assert not book.leads_out("a")


STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.sampled_from(["x", "Y", "z"]), min_size=1, max_size=3),
        st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_the_book_is_what_its_last_entries_say(
    steps: list[tuple[bool, str, str, list[str], str]],
) -> None:
    """Whatever was put and removed before: nothing lingers, nothing is lost."""
    book = NameBook()
    truth: dict[tuple[str, str], NamedEndpoint] = {}
    for is_put, network, container, names, address in steps:
        truth.pop((network, container), None)
        if is_put:
            entry = endpoint(container, address, network=network, names=tuple(names))
            truth[network, container] = entry
            book.put(network, entry)
        else:
            book.remove(network, container)
    for network, container in truth:
        for name in ("x", "y", "z"):
            expected = {
                one
                for (where, _), other in truth.items()
                if where == network and name in {n.lower() for n in other.names}
                for one in other.addresses
            }
            found = book.addresses(container, f"{name}.{network}")
            assert (set(found) if found else set()) == expected
