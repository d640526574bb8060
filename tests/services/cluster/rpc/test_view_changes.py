"""Networks on their way to nodes."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.dispatcher.values import (
    Assignments,
    Backend,
    NetworkPeer,
    NetworkView,
    ServiceView,
)
from services.cluster.rpc.view_changes import (
    ViewCache,
    ViewReceiver,
    ViewSender,
    change_between,
    changed_view,
)
from tests.support.cluster_objects import a_network

IDS = st.sampled_from(["a", "b", "c", "d"])
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
BACKENDS = st.dictionaries(IDS, ADDRESSES).map(
    lambda chosen: tuple(
        Backend(task_id=id, name=id, address=chosen[id], node_id="n") for id in sorted(chosen)
    )
)


@st.composite
def views(draw: st.DrawFn) -> NetworkView:
    """In the order that an index gives them."""
    nodes = draw(st.dictionaries(IDS, st.tuples(ADDRESSES)))
    services = draw(st.dictionaries(IDS, st.tuples(ADDRESSES, BACKENDS)))
    return NetworkView(
        network=a_network("net", balancers=draw(st.dictionaries(IDS, ADDRESSES))),
        peers=tuple(
            NetworkPeer(node_id=id, data_path_addr=f"192.0.2.{id}", addresses=nodes[id])
            for id in sorted(nodes)
        ),
        services=tuple(
            ServiceView(id=id, name=id, vip=services[id][0], backends=services[id][1])
            for id in sorted(services)
        ),
        containers=draw(BACKENDS),
    )


@given(views(), views())
def test_a_change_turns_one_view_into_the_other(before: NetworkView, after: NetworkView) -> None:
    """Whatever they are."""
    assert changed_view(before, change_between(before, after)) == after


@given(st.lists(st.one_of(st.none(), views()), min_size=1, max_size=6))
def test_a_node_sees_what_the_manager_sees(course: list[NetworkView | None]) -> None:
    """A network that comes, changes, goes and comes again."""
    sender, receiver = ViewSender(ViewCache()), ViewReceiver()
    for view in course:
        told = Assignments(
            networks=() if view is None else (view,),
            removed_networks=("net",) if view is None else (),
        )
        messages = sender.messages(told)
        bare = msgspec.structs.replace(told, networks=())
        assert receiver.with_networks(bare, messages) == told


def test_one_more_backend_among_many_is_a_short_message_made_once() -> None:
    """The same bytes for each node that knows the same."""

    def view(count: int) -> NetworkView:
        backends = tuple(
            Backend(task_id=f"{n:05}", name=f"web.{n}", address=f"10.0.{n // 250}.{n % 250}",
                    node_id="n")
            for n in range(count)
        )  # fmt: skip
        service = ServiceView(id="web", name="web", backends=backends)
        return NetworkView(network=a_network("net"), services=(service,))

    before, after, cache = view(5000), view(5001), ViewCache()
    first, second = ViewSender(cache), ViewSender(cache)
    for sender in (first, second):
        (whole,) = sender.messages(Assignments(is_complete=True, networks=(before,)))
        assert len(whole.view_json or b"") > 100_000
    (one,) = first.messages(Assignments(networks=(after,)))
    (other,) = second.messages(Assignments(networks=(after,)))
    assert one is other
    assert len(one.change_json or b"") < 1000
