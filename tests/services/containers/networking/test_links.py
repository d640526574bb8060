"""Legacy links: what they are called, what they bring, and where they go when things change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from services.containers.config import ContainerConfig, EndpointSettings, HostConfig
from services.containers.container import Container
from services.containers.model import ContainerId, Link, State
from services.containers.networking.hosts_file import MAX_BYTES, HostsFiles
from services.containers.networking.links import (
    Links,
    link_env,
    parse_link,
    resolve_links,
    split_link_name,
)
from services.containers.table import ContainerTable
from services.errors import Conflict, InvalidParameter, NotFound
from tests.services.containers.support import container

WEB, DB = ContainerId("a" * 64), ContainerId("b" * 64)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("db", ("db", "db")),
        ("db:mysql", ("db", "mysql")),
        ("/db:/web/mysql", ("db", "mysql")),  # what inspect shows
    ],
)
def test_forms(text: str, parsed: tuple[str, str]) -> None:
    """The CLI's two and that of inspect, which clients send back."""
    assert parse_link(text) == parsed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty string specified for links"),
        ("a:b:c", "bad format for links: a:b:c"),
        (":x", "bad format for links: :x"),
        ("x:", "bad format for links: x:"),
        ("x:a\n1.1.1.1\tb", "bad format for links: x:a\n1.1.1.1\tb"),
        ("x:a b", "bad format for links: x:a b"),
        ("x:a/b", "bad format for links: x:a/b"),
        ("x:a=b", "bad format for links: x:a=b"),
    ],
)
def test_no_links(text: str, words: str) -> None:
    """Refused."""
    with pytest.raises(InvalidParameter) as refusal:
        parse_link(text)
    assert str(refusal.value) == words


def one(
    container_id: ContainerId,
    name: str,
    state: State = State.RUNNING,
    *,
    address: str = "",
    links: dict[str, ContainerId] | None = None,
    mode: str = "bridge",
    **config: Any,
) -> Container:
    made = container(state, container_id=container_id, name=name, **config)
    made.definition = msgspec.structs.replace(
        made.definition,
        host_config=msgspec.structs.replace(made.definition.host_config, network_mode=mode),
        networks={mode: EndpointSettings()},
        links=[Link(child=child, alias=alias) for alias, child in (links or {}).items()],
    )
    networks = {"bridge": EndpointSettings(ip_address=address)} if address else {}
    made.status = msgspec.structs.replace(made.status, networks=networks)
    return made


def table_of(*containers: Container) -> ContainerTable:
    table = ContainerTable()
    for each in containers:
        table.add(each)
    return table


def links_of(table: ContainerTable, directory: Path = Path("/nowhere")) -> Links:
    return Links(table, hosts=HostsFiles(directory=directory, disk=trio.CapacityLimiter(1)))


def test_names_become_ids() -> None:
    """Of two links with one alias the first holds, as in dockerd."""
    table = table_of(one(DB, "db"), one(WEB, "web"))
    host = HostConfig(links=["db:x", "web:x", DB[:6]])
    assert resolve_links(host, table) == [
        Link(child=DB, alias="x"), Link(child=DB, alias=DB[:6]),
    ]  # fmt: skip
    assert resolve_links(HostConfig(), table) == []


def test_one_in_the_network_of_another_stands_for_that() -> None:
    """And one in the host's cannot be linked to."""
    table = table_of(one(DB, "db"), one(WEB, "web", mode=f"container:{DB}"))
    assert resolve_links(HostConfig(links=["web:x"]), table) == [Link(child=DB, alias="x")]
    table = table_of(one(DB, "db", mode="host"))
    with pytest.raises(InvalidParameter, match="host type networking can't be used with links"):
        resolve_links(HostConfig(links=["db"]), table)


def test_a_link_to_nobody_is_no_404() -> None:
    """A client would take it for an image that is not there, and pull."""
    with pytest.raises(InvalidParameter) as refusal:
        resolve_links(HostConfig(links=["db"]), table_of())
    assert str(refusal.value) == "could not get container for db: No such container: db"


def test_the_environment() -> None:
    """TCP before UDP, ranges of ports together, HOME and PATH left out."""
    config = ContainerConfig(
        exposed_ports={"53/udp": {}, "81/tcp": {}, "80/tcp": {}, "8000": {}},
        env=["HOME=/x", "PATH=/bin", "A=1", "B=x=y", "NONE"],
    )
    env = link_env("/web/my-db", "10.0.0.2", config)
    assert env[0] == "MY_DB_PORT=tcp://10.0.0.2:80"
    assert {
        "MY_DB_PORT_80_TCP=tcp://10.0.0.2:80",
        "MY_DB_PORT_80_TCP_ADDR=10.0.0.2",
        "MY_DB_PORT_80_TCP_PORT=80",
        "MY_DB_PORT_80_TCP_PROTO=tcp",
        "MY_DB_PORT_80_TCP_START=tcp://10.0.0.2:80",
        "MY_DB_PORT_80_TCP_PORT_START=80",
        "MY_DB_PORT_80_TCP_END=tcp://10.0.0.2:81",
        "MY_DB_PORT_80_TCP_PORT_END=81",
        "MY_DB_PORT_8000_TCP_PORT=8000",
        "MY_DB_PORT_53_UDP=udp://10.0.0.2:53",
        "MY_DB_NAME=/web/my-db",
        "MY_DB_ENV_A=1",
        "MY_DB_ENV_B=x=y",
    } < set(env)
    assert sum("_START=" in entry for entry in env) == 2
    assert not any("HOME" in entry or "PATH" in entry or "NONE" in entry for entry in env)


def test_without_ports_there_is_the_name() -> None:
    """As dockerd's."""
    assert link_env("/web/db", "10.0.0.2", ContainerConfig()) == ["DB_NAME=/web/db"]


@given(st.sets(st.integers(1, 40), min_size=1))
def test_ranges_cover_what_follows_one_another(ports: set[int]) -> None:
    """Each range is a longest run of ports, and each run of two and more is one."""
    config = ContainerConfig(exposed_ports={f"{port}/tcp": {} for port in ports})
    env = dict(entry.split("=", 1) for entry in link_env("/w/d", "a", config))
    begins = {p for p in ports if p - 1 not in ports and p + 1 in ports}
    found = {int(v) for k, v in env.items() if k.endswith("_PORT_START")}
    assert found == begins
    for first in begins:
        last = next(p for p in range(first, 42) if p + 1 not in ports)
        assert env[f"D_PORT_{first}_TCP_PORT_END"] == str(last)


def test_what_a_start_gets() -> None:
    """Variables, and a line with alias, host name and name."""
    db = one(DB, "db", address="10.0.0.2", hostname="h")
    web = one(WEB, "web", links={"mysql": DB, "db": DB})
    linked = links_of(table_of(db, web)).at_start(web)
    assert [(host.address, host.names) for host in linked.hosts] == [
        ("10.0.0.2", ("mysql", "h", "db")),
        ("10.0.0.2", ("db", "h")),
    ]
    assert linked.env == ("MYSQL_NAME=/web/mysql", "DB_NAME=/web/db")


def test_what_keeps_it_from_starting() -> None:
    """The words are dockerd's; a link whose container was removed is none."""
    web = one(WEB, "web", links={"mysql": DB})
    stopped = links_of(table_of(one(DB, "db", State.EXITED), web))
    with pytest.raises(Conflict) as refusal:
        stopped.at_start(web)
    text = "Cannot link to a non running container: /db AS /web/mysql"
    assert str(refusal.value) == text
    elsewhere = links_of(table_of(one(DB, "db", mode="none"), web))
    with pytest.raises(Conflict) as refusal:
        elsewhere.at_start(web)
    text = "Cannot link to /db, as it does not belong to the default network"
    assert str(refusal.value) == text
    assert links_of(table_of(web)).at_start(web).hosts == ()


def test_without_the_default_network_links_do_nothing() -> None:
    """As in dockerd, whatever the other one does."""
    web = one(WEB, "web", mode="none", links={"mysql": DB})
    assert links_of(table_of(one(DB, "db", State.EXITED), web)).at_start(web).env == ()


def test_names_follow_renames() -> None:
    """They are made from what both are called now."""
    db, web = one(DB, "db"), one(WEB, "web", links={"mysql": DB})
    table = table_of(db, web)
    assert links_of(table).shown(web) == ["/db:/web/mysql"]
    assert table.link_names_of(db) == ("/web/mysql",)
    assert table.find("web/mysql") is table.find("/web/mysql") is db
    db.definition = msgspec.structs.replace(db.definition, name="db2")
    web.definition = msgspec.structs.replace(web.definition, name="web2")
    assert links_of(table).shown(web) == ["/db2:/web2/mysql"]
    assert table.link_names_of(db) == ("/web2/mysql",)


def test_a_removal_takes_the_links_along() -> None:
    """In both directions."""
    db, web = one(DB, "db"), one(WEB, "web", links={"mysql": DB})
    table = table_of(web, db)  # as read from disk: in any order
    assert table.parents_of(db) == [web]
    table.remove(web)
    assert table.link_names_of(db) == ()
    with pytest.raises(NotFound):
        table.find("web/mysql")
    table.add(web)
    table.remove(db)
    assert links_of(table).shown(web) == []
    with pytest.raises(NotFound):
        table.find("web/mysql")


def test_names_of_links() -> None:
    """What `docker rm --link` takes; a container's own name is none."""
    assert split_link_name("/web/mysql") == split_link_name("web/mysql") == ("web", "mysql")
    with pytest.raises(Conflict, match="Conflict, cannot remove the default link name"):
        split_link_name("web")


HOSTS = "127.0.0.1\tlocalhost\n10.0.0.2\tdb h\n10.0.0.3\tdb2\n10.0.0.4\tdb.example db-x\n"


async def test_who_is_linked_hears_of_a_new_address(tmp_path: Path) -> None:
    """While it runs; in place, since the file is mounted. What is too large is left alone."""
    db = one(DB, "db", address="10.0.0.9")
    web = one(WEB, "web", links={"db": DB})
    (tmp_path / WEB).mkdir()
    hosts = tmp_path / WEB / "hosts"
    hosts.write_bytes(HOSTS.encode() + b"10.1.1.1\t\xff\n")
    inode = hosts.stat().st_ino
    links = links_of(table_of(db, web), tmp_path)
    await links.tell_parents(db)
    assert b"10.0.0.9\tdb h\n" in hosts.read_bytes()
    assert hosts.read_bytes().endswith(b"10.1.1.1\t\xff\n")
    assert hosts.stat().st_ino == inode
    await links.forget_host(web, "db")
    assert b"\tdb h\n" not in hosts.read_bytes()
    hosts.write_bytes(b"10.0.0.2\tdb\n" * MAX_BYTES)
    await links.tell_parents(db)
    assert hosts.read_bytes().startswith(b"10.0.0.2")
    web.status = msgspec.structs.replace(web.status, state=State.EXITED)
    hosts.write_text(HOSTS)
    await links.tell_parents(db)
    await links.forget_host(web, "db")
    assert hosts.read_text() == HOSTS
