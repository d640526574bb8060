"""Which containers a list shows, in which order, and that it is encoded once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from services.api.front.container_list import ContainerList
from services.api.wire.query import parse_query
from services.containers import Container, ContainerTable, State
from services.containers.config import ContainerConfig, HealthConfig, HostConfig
from services.containers.health.rules import Health, HealthStatus
from services.containers.model import Status
from services.containers.sizes import Size
from services.errors import InvalidParameter, NotFound
from tests.services.api.containers import (
    BIND,
    BORN_NS,
    SECOND_NS,
    container,
    container_id,
    exited,
    filled,
    running,
)
from tests.services.api.openapi import require_definition


def born(seconds: int) -> int:
    return BORN_NS + seconds * SECOND_NS


def everything() -> list[Container]:
    """One of each, the oldest first."""
    return [
        container("1", "web", created_at_ns=born(1), status=running(), mounts=[BIND]),
        container(
            "2", "db-1", created_at_ns=born(2), status=running(state=State.PAUSED),
            config=ContainerConfig(
                labels={"tier": "back", "x": ""}, exposed_ports={"80/tcp": {}, "53/udp": {}}
            ),
            host_config=filled(HostConfig(network_mode="bridge", annotations={"a": "1", "b": ""})),
        ),
        container(
            "3", "db-2", created_at_ns=born(3), status=exited(0),
            config=ContainerConfig(labels={"tier": "front"}, exposed_ports={"80/tcp": {}}),
        ),
        container("4", "job", created_at_ns=born(4), status=exited(137)),
        container("5", "new", created_at_ns=born(5)),
        container(
            "6", "again", created_at_ns=born(6), status=exited(1, state=State.RESTARTING)
        ),
    ]  # fmt: skip


def listing(containers: list[Container] | None = None) -> ContainerList:
    table = ContainerTable()
    for one in everything() if containers is None else containers:
        table.add(one)
    return ContainerList(table)


@dataclass
class FakeImages:
    """One image, that all containers are of; whatever starts with `called` means it."""

    called: str = "busybox"

    def name_of(self, _container: Container) -> str:
        return self.called

    def family_of(self, refs: Iterable[str]) -> frozenset[str]:
        known = any(ref.startswith(self.called) for ref in refs)
        return frozenset({container("1").definition.image_id} if known else ())


def answer(made: ContainerList, query: bytes, images: FakeImages | None = None) -> bytes:
    """The whole answer to a query string."""
    images = images or FakeImages()
    return made.encode(made.choose(parse_query(query), images), images)


def names(query: str = "", **filters: object) -> list[str]:
    """The names that an answer holds."""
    if filters:
        query = f"{query}&filters={quote(json.dumps(filters))}"
    wire = json.loads(answer(listing(), query.encode()))
    return [one["Names"][0].removeprefix("/") for one in wire]


ALL = ["again", "new", "job", "db-2", "db-1", "web"]


def test_the_running_ones_newest_first() -> None:
    """Paused and restarting ones count as running."""
    assert names() == ["again", "db-1", "web"]


def test_all() -> None:
    """In whatever state."""
    assert names("all=1") == ALL


@pytest.mark.parametrize(("limit", "count"), [("1", 1), ("3", 3), ("0", 3), ("-1", 3), ("99", 6)])
def test_a_limit_is_of_all(limit: str, count: int) -> None:
    """The newest, in whatever state; none or a negative one is no limit, and means the running."""
    assert len(names(f"limit={limit}")) == count


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"id": ["3"]}, ["db-2"]),
        ({"id": [container_id("3"), "4"]}, ["job", "db-2"]),
        ({"id": [""]}, []),
        ({"id": ["web"]}, []),
        ({"isolation": ["whatever"]}, ALL),
        ({"name": ["db"]}, ["db-2", "db-1"]),
        ({"name": ["^/db-1$"]}, ["db-1"]),
        ({"name": ["^db-1$", "web"]}, ["db-1", "web"]),
        ({"name": ["d(b|c)-[12]"]}, ["db-2", "db-1"]),
        ({"name": ["(?i)WEB"]}, ["web"]),
        ({"name": ["("]}, []),
        ({"name": ["(?=web)"]}, []),
        ({"name": [""]}, ALL),
        ({"status": ["exited"]}, ["job", "db-2"]),
        ({"status": ["running", "created"]}, ["new", "web"]),
        ({"status": ["paused"]}, ["db-1"]),
        ({"exited": ["137"]}, ["job"]),
        ({"exited": ["+137", "99999999999"]}, ["job"]),
        ({"exited": ["0", "137"]}, ["job", "db-2"]),
        ({"label": ["tier"]}, ["db-2", "db-1"]),
        ({"annotation": ["a"]}, ["db-1"]),
        ({"annotation": ["a=1", "b"]}, ["db-1"]),
        ({"annotation": ["a=2"]}, []),
        ({"label": ["tier=back"]}, ["db-1"]),
        ({"label": ["tier", "x"]}, ["db-1"]),
        ({"label": ["x="]}, ["db-1"]),
        ({"label": ["tier="]}, []),
        ({"ancestor": ["busybox"]}, ALL),
        ({"ancestor": ["debian"]}, []),
        ({"network": ["bridge"]}, ALL),
        ({"network": ["333"]}, ["db-1", "web"]),
        ({"network": ["host"]}, []),
        ({"volume": ["/data"]}, ["web"]),
        ({"volume": [BIND.source]}, ["web"]),
        ({"volume": [""]}, []),
        ({"expose": ["80"]}, ["db-1"]),  # in the image of db-2 too, which does not run
        ({"expose": ["80/tcp"]}, ["db-1"]),
        ({"expose": ["70-90"]}, ["db-1"]),
        ({"expose": ["80/udp"]}, []),
        ({"expose": ["53/udp", "1"]}, ["db-1"]),
        ({"publish": ["80"]}, []),
        ({"health": ["none"]}, ALL),
        ({"health": ["healthy"]}, []),
        ({"is-task": ["false"]}, ALL),
        ({"is-task": ["true"]}, []),
        ({"before": ["job"]}, ["db-2", "db-1", "web"]),
        ({"since": ["job"]}, ["again", "new"]),
        ({"since": ["db-1"], "before": [container_id("5")]}, ["job", "db-2"]),
        ({"name": ["db"], "status": ["exited"]}, ["db-2"]),
        ({"name": []}, ALL),
        ({"name": {"web": True}}, ["web"]),
    ],
)
def test_filters(filters: dict[str, object], found: list[str]) -> None:
    """Each filter of the API; several filters all hold, of one filter's values any."""
    assert names("all=1", **filters) == found


def test_a_filter_of_states_shows_what_does_not_run() -> None:
    """Without `all`; no other filter does."""
    assert names(status=["exited"]) == ["job", "db-2"]
    assert names(exited=["137"]) == []


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        ({"nope": ["1"]}, InvalidParameter),
        ({"status": ["sleeping"]}, InvalidParameter),
        ({"status": ["exited", ""]}, InvalidParameter),
        ({"exited": ["x"]}, InvalidParameter),
        ({"exited": [""]}, InvalidParameter),
        ({"exited": ["9223372036854775808"]}, InvalidParameter),
        ({"health": ["NONE"]}, InvalidParameter),
        ({"is-task": ["TRUE"]}, InvalidParameter),
        ({"is-task": ["true", "0"]}, InvalidParameter),
        ({"expose": ["80:90"]}, InvalidParameter),
        ({"expose": ["x"]}, InvalidParameter),
        ({"publish": [""]}, InvalidParameter),
        ({"publish": ["65536"]}, InvalidParameter),
        ({"publish": ["90-80"]}, InvalidParameter),
        ({"label!": ["x"]}, InvalidParameter),
        ({"before": ["nobody"]}, NotFound),
        ({"since": ["nobody"]}, NotFound),
    ],
)
def test_bad_filters(filters: dict[str, object], error: type[Exception]) -> None:
    """Unknown names, impossible values, containers that are not there."""
    with pytest.raises(error):
        names("all=1", **filters)


def test_nothing() -> None:
    """An empty list, not null."""
    assert answer(listing([]), b"all=1") == b"[]\n"


def test_the_answer_fits_the_definition() -> None:
    """All states together."""
    wire = json.loads(answer(listing(), b"all=1"))
    require_definition().validate("ContainerList", 200, wire)


def test_an_answer_follows_every_change() -> None:
    """What is kept encoded is left when the container, its image's name or its age changes."""
    one = container("1")
    images = FakeImages()
    made = listing([one])

    def shown() -> dict[str, object]:
        wire: list[dict[str, object]] = json.loads(answer(made, b"all=1", images))
        return wire[0]

    assert (shown()["State"], shown()["Image"]) == ("created", "busybox")
    images.called = "renamed"
    assert shown()["Image"] == "renamed"
    one.replace(status=Status(state=State.DEAD))
    assert (shown()["State"], shown()["Status"]) == ("dead", "Dead")


def test_the_list_follows_the_health() -> None:
    """A change of health alone is one, and each state of it can be asked for."""
    check = ContainerConfig(healthcheck=HealthConfig(test=["CMD", "true"]))
    one = container("1", "web", config=check, status=running())
    made = listing([one, container("2", "plain", status=running())])

    def found(health: str) -> list[object]:
        wire = json.loads(answer(made, f'filters={{"health":["{health}"]}}'.encode()))
        return [summary["Health"]["Status"] for summary in wire]

    for status in HealthStatus:
        one.set_health(Health(status=status))
        assert found(status) == [status.value]
    assert found("none") == ["none"]


def test_what_is_gone_is_forgotten() -> None:
    """The kept answers do not outgrow the containers."""
    table = ContainerTable()
    made = ContainerList(table)
    for number in range(200):
        one = container(f"{number:03}", f"name-{number}")
        table.add(one)
        answer(made, b"all=1")
        table.remove(one)
    assert len(made._encoded) <= 20


def test_a_size_is_shown_where_there_is_one() -> None:
    """And not kept: the same list without sizes has none."""
    made = listing()
    images = FakeImages()
    chosen = made.choose(parse_query(b"all=1"), images)
    sizes: dict[str, Size] = {
        chosen[0].id: Size(written_bytes=1, total_bytes=3),
        chosen[1].id: Size(written_bytes=0, total_bytes=2),
    }
    sized = json.loads(made.encode(chosen, images, sizes))
    plain = json.loads(made.encode(chosen, images))
    assert (sized[0]["SizeRw"], sized[0]["SizeRootFs"]) == (1, 3)
    assert "SizeRw" not in sized[1]  # as Go leaves out a zero
    assert sized[1]["SizeRootFs"] == 2
    assert sized[2:] == plain[2:]
    assert "SizeRw" not in plain[0]
