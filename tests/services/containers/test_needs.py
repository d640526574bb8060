"""Who needs whom: by namespaces, links, volumes, groups, and compose's label."""

from __future__ import annotations

from typing import Any

import msgspec

from services.containers.container import Container
from services.containers.groups.labels import GROUP, ORDER
from services.containers.model import Link
from services.containers.needs import Needs
from tests.services.containers.support import container

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"


def made(
    letter: str, *, links: str = "", labels: dict[str, str] | None = None, **host: Any
) -> Container:
    one = container(container_id=letter * 64, name=f"name-{letter}", labels=labels or {})
    definition = one.definition
    one.replace(
        definition=msgspec.structs.replace(
            definition,
            links=[Link(child=each * 64, alias=each) for each in links],
            host_config=msgspec.structs.replace(definition.host_config, **host),
        )
    )
    return one


def letters(needs: Needs, one: Container) -> str:
    return "".join(sorted(container_id[0] for container_id in needs.of(one)))


def test_by_what_was_asked_at_the_create() -> None:
    """A name, an id, or the beginning of one; and whether or not others are there."""
    user = made(
        "a",
        links="b",
        network_mode=f"container:{'c' * 64}",
        volumes_from=["name-d:ro", "e" * 64, "ffff", "gone"],
    )
    others = [made(letter) for letter in "bcdef"]
    assert letters(Needs([user, *others]), user) == "bcdefg"
    assert all(letters(Needs([user, *others]), other) == "" for other in others)


def test_by_compose() -> None:
    """All containers of the services that it names, of the same project."""

    def service(letter: str, name: str, depends_on: str = "", project: str = "shop") -> Container:
        labels = {PROJECT: project, SERVICE: name, DEPENDS_ON: depends_on}
        return made(letter, labels=labels)

    web = service("a", "web", "db:service_healthy:false,cache:service_started:true")
    db, db2 = service("b", "db"), service("c", "db", "init")
    cache, other = service("d", "cache"), service("e", "db", project="blog")
    needs = Needs([web, db, db2, cache, other, made("f")])
    assert letters(needs, web) == "bcd"
    assert letters(needs, db2) == ""
    assert letters(needs, cache) == ""


def test_by_group() -> None:
    """The members of a lower order."""
    first, second, beside = (
        made(letter, labels={GROUP: group, ORDER: order})
        for letter, group, order in (("a", "web", "0"), ("b", "web", "1"), ("c", "other", "0"))
    )
    needs = Needs([first, second, beside])
    assert letters(needs, second) == "a"
    assert letters(needs, first) == ""
