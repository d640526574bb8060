"""What a container joins of others, and in whose words it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.containers.config import EndpointSettings, HostConfig
from services.containers.container import Container
from services.containers.joining import (
    Joiner,
    by_id,
    is_joined,
    needed_ids,
    network_owner,
)
from services.containers.model import ContainerId, Link, State
from services.containers.table import ContainerTable
from services.errors import Conflict, EngineError, InvalidParameter
from tests.services.containers.support import container

A, B, C = (ContainerId(letter * 64) for letter in "abc")


def made(
    container_id: ContainerId,
    name: str,
    state: State = State.CREATED,
    *,
    pid: int = 0,
    links: tuple[str, ...] = (),
    **modes: Any,
) -> Container:
    one = container(state, container_id=container_id, name=name)
    host = msgspec.structs.replace(one.definition.host_config, **modes)
    one.definition = msgspec.structs.replace(
        one.definition,
        host_config=host,
        links=[Link(child=child, alias="x") for child in links],
    )
    runs = 0 if state is State.CREATED else 1
    one.status = msgspec.structs.replace(one.status, pid=pid, runs=runs)
    return one


def modes(field: str, other: str) -> dict[str, Any]:
    return {field: f"container:{other}"}


def table_of(*containers: Container) -> ContainerTable:
    table = ContainerTable()
    for one in containers:
        table.add(one)
    return table


def joiner(table: ContainerTable, *sharing: str) -> Joiner:
    return Joiner(table, lambda i: f"/shm/{i}" if i in sharing else "")


def test_names_become_ids_and_what_names_nobody_stays() -> None:
    """So a rename changes nothing; and the start can tell what there is not."""
    table = table_of(made(A, "web"))
    host = HostConfig(
        network_mode="container:web", ipc_mode=f"container:{A[:5]}", pid_mode="container:nope"
    )
    found = by_id(host, table)
    assert found.network_mode == found.ipc_mode == f"container:{A}"
    assert found.pid_mode == "container:nope"
    plain = HostConfig(network_mode="host", ipc_mode="private")
    assert by_id(plain, table) is plain


def test_running_containers_are_joined_by_the_path_of_their_namespace() -> None:
    """A paused one counts as running."""
    donor = made(A, "web", State.PAUSED, pid=7, ipc_mode="shareable")
    mode = f"container:{A}"
    one = made(B, "app", network_mode=mode, ipc_mode=mode, pid_mode=mode)
    joined = joiner(table_of(donor, one), A).join(one)
    assert joined.network is donor
    assert joined.files_of == A
    paths = joined.namespaces
    assert (paths.network, paths.ipc, paths.pid) == (
        "/proc/7/ns/net", "/proc/7/ns/ipc", "/proc/7/ns/pid",
    )  # fmt: skip
    assert joined.shm_path == f"/shm/{A}"


def test_one_of_its_own_joins_nobody() -> None:
    """Nor does one in the host's namespaces, which has the host's /dev/shm."""
    alone = made(A, "web", network_mode="bridge", ipc_mode="private")
    table = table_of(alone)
    joined = joiner(table).join(alone)
    assert joined.network is None
    assert (joined.shm_path, joined.namespaces.network) == ("", "")
    host = made(B, "app", network_mode="host", ipc_mode="host", pid_mode="host")
    assert joiner(table).join(host).shm_path == "/dev/shm"


def refused(one: Container, table: ContainerTable, *sharing: str) -> EngineError:
    with pytest.raises(EngineError) as refusal:
        joiner(table, *sharing).join(one)
    return refusal.value


NETWORK = "joining network namespace of container: "


@pytest.mark.parametrize(
    ("field", "state", "kind", "text"),
    [
        (
            "network_mode", State.EXITED, Conflict,
            "cannot join network namespace of a non running container: container web is exited",
        ),
        (
            "network_mode", State.RESTARTING, Conflict,
            "cannot join network namespace of container: Container {} is restarting, "
            "wait until the container is running",
        ),
        (
            "ipc_mode", State.CREATED, Conflict,
            "failed to join IPC namespace: container {} is not running",
        ),
        (
            "pid_mode", State.CREATED, Conflict,
            "failed to join PID namespace: container {} is not running",
        ),
        (
            "pid_mode", State.RESTARTING, Conflict,
            "failed to join PID namespace: Container {} is restarting, "
            "wait until the container is running",
        ),
        (
            "ipc_mode", State.RUNNING, InvalidParameter,
            "failed to join IPC namespace: container {}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)",
        ),
    ],
)  # fmt: skip
def test_who_cannot_be_joined(field: str, state: State, kind: type[EngineError], text: str) -> None:
    """In the words of dockerd 28 and later."""
    donor = made(A, "web", state, ipc_mode="private")
    one = made(B, "app", **modes(field, A))
    error = refused(one, table_of(donor, one))
    assert type(error) is kind
    assert str(error) == text.format(A)


@pytest.mark.parametrize(
    ("field", "kind", "text"),
    [
        ("network_mode", EngineError, NETWORK + "No such container: nope"),
        ("ipc_mode", InvalidParameter, "failed to join IPC namespace: No such container: nope"),
        ("pid_mode", InvalidParameter, "failed to join PID namespace: No such container: nope"),
    ],
)
def test_who_is_not_there(field: str, kind: type[EngineError], text: str) -> None:
    """Told at the start; never with 404, which a client reads as its own container's."""
    one = made(B, "app", **modes(field, "nope"))
    error = refused(one, table_of(one))
    assert type(error) is kind
    assert str(error) == text


def test_nobody_joins_itself() -> None:
    """A name that was nobody's at the create may be its own."""
    one = made(A, "self", network_mode="container:self")
    assert str(refused(one, table_of(one))) == "cannot join own network namespace"


def test_shared_memory_is_passed_on() -> None:
    """From one that has joined another itself, and from one in the host's namespace."""
    first = made(A, "first", State.RUNNING, ipc_mode="shareable")
    second = made(B, "second", State.RUNNING, ipc_mode=f"container:{A}")
    third = made(C, "third", ipc_mode=f"container:{B}")
    table = table_of(first, second, third)
    assert joiner(table, A).join(third).shm_path == f"/shm/{A}"
    assert "non-shareable" in str(refused(third, table))
    in_host = made(A, "first", State.RUNNING, ipc_mode="host")
    assert joiner(table_of(in_host, second), A).join(second).shm_path == "/dev/shm"


def test_a_ring_of_containers_ends() -> None:
    """Two that name each other have nothing to share, and no files but their own."""
    first = made(
        A, "first", State.RUNNING, ipc_mode=f"container:{B}", network_mode=f"container:{B}"
    )
    second = made(
        B, "second", State.RUNNING, ipc_mode=f"container:{A}", network_mode=f"container:{A}"
    )
    table = table_of(first, second)
    assert "non-shareable" in str(refused(first, table))
    assert network_owner(first, table) == A


@pytest.mark.parametrize(
    ("change", "owner"),
    [
        (lambda one: None, A),
        (lambda one: setattr(one, "status", msgspec.structs.replace(one.status, runs=0)), B),
    ],
)
def test_whose_files_a_container_has(change: Callable[[Container], None], owner: str) -> None:
    """Those of the network's first container, once it has run; its own before."""
    first = made(A, "first", State.RUNNING, network_mode="bridge")
    second = made(B, "second", State.EXITED, network_mode=f"container:{A}")
    table = table_of(first, second)
    assert network_owner(first, table) == A
    change(second)
    assert network_owner(second, table) == owner
    third = made(C, "third", State.EXITED, network_mode=f"container:{B}")
    table.add(third)
    assert network_owner(third, table) == owner


def test_files_of_one_that_was_removed() -> None:
    """They are named as they were."""
    one = made(B, "app", State.EXITED, network_mode=f"container:{A}")
    assert network_owner(one, table_of(one)) == A


def test_what_must_run_before() -> None:
    """All that a container joins, and all that it is linked to."""
    one = made(A, "app", pid_mode=f"container:{B}", network_mode="bridge", links=(C,))
    assert needed_ids(one) == {B, C}
    assert needed_ids(made(A, "web", ipc_mode="host")) == frozenset()


def test_whether_a_network_is_joined() -> None:
    """By containers that were made for it, running or not."""
    one = made(B, "app", network_mode=f"container:{A}")
    assert is_joined(A, [one])
    assert not is_joined(B, [one])
    other = made(C, "x")
    other.status = msgspec.structs.replace(
        other.status, networks={"bridge": EndpointSettings(ip_address="10.0.0.2")}
    )
    assert not is_joined(A, [other])
