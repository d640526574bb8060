"""Every operation of the API has a row, and a request finds it."""

from __future__ import annotations

import pytest

from services.api.access.operations import BY_ID, OPERATIONS, Bound, Kind, matches
from services.api.access.scopes import ALWAYS, ROOT_EQUIVALENT
from tests.services.api.openapi import require_definition


def test_every_operation_is_classified() -> None:
    """The rows are the definition's, no more and no fewer: a new one is to be thought about."""
    defined = {(o.method.upper(), o.path, o.id) for o in require_definition().operations()}
    assert {(row.method, row.path, row.id) for row in OPERATIONS} == defined
    assert len(BY_ID) == len(OPERATIONS)


def test_nothing_that_changes_is_called_reading() -> None:
    """What read-only permits is GET and HEAD alone, and nothing that hands out contents."""
    reading = {row.id for row in OPERATIONS if row.kind is Kind.READ}
    assert all(BY_ID[name].method in ("GET", "HEAD") for name in reading)
    assert not reading & {
        "ContainerArchive", "ContainerArchiveInfo", "ContainerExport", "ContainerLogs",
        "ContainerTop", "ContainerAttachWebsocket", "ImageGet", "ImageGetAll", "SwarmInspect",
        "SwarmUnlockkey", "ServiceInspect", "TaskInspect", "ConfigInspect", "SecretInspect",
    }  # fmt: skip
    assert reading >= {"ContainerList", "ContainerInspect", "ExecInspect", "SystemEvents"}
    assert all(row.kind is Kind.CHANGES for row in OPERATIONS if row.method in ("PUT", "DELETE"))
    assert reading >= ALWAYS
    assert BY_ID.keys() >= ROOT_EQUIVALENT


def test_what_names_a_container_is_bound_to_it() -> None:
    """No operation on a container or an exec can be asked for past a policy's labels."""
    for row in OPERATIONS:
        if row.path.startswith("/containers/{id}"):
            assert row.bound is Bound.CONTAINER, row
        elif row.path.startswith("/exec/{id}"):
            assert row.bound is Bound.EXEC, row
        elif "container" in row.path or row.id in ("ImageCommit", "ImageBuild"):
            assert row.bound is not Bound.FREE, row


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.id)
def test_a_request_finds_its_row(row: object) -> None:
    """With a name in its place; a slash in it may make it look like others too."""
    operation = next(one for one in OPERATIONS if one is row)
    path = operation.path.replace("{id}", "abc").replace("{name}", "r/x")
    found = matches(operation.method, path)
    assert operation in [match.operation for match in found]
    if "{id}" in operation.path:
        assert [match.reference for match in found] == ["abc"]


def test_what_is_no_operation() -> None:
    """Another method, another path, a part of one."""
    assert matches("PUT", "/containers/json") == ()
    assert matches("GET", "/containers") == ()
    assert matches("GET", "/xcontainers/json") == ()
    assert [m.operation.id for m in matches("GET", "/containers/json")] == ["ContainerList"]
    assert {m.operation.id for m in matches("GET", "/images/a/get/json")} == {"ImageInspect"}
    assert {m.operation.id for m in matches("DELETE", "/containers/a/b")} == {"ContainerDelete"}
