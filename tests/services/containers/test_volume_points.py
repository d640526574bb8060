"""Which volumes a container has where."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.containers.config import (
    ContainerConfig,
    DriverConfig,
    HostConfig,
    Mount,
    VolumeOptions,
)
from services.containers.spec import MountPoint, parse_mounts
from services.containers.volume_points import (
    all_points,
    points_from_others,
    request_of,
    with_volumes,
)
from services.errors import InvalidParameter, NotFound
from services.volumes import Volume


def points(host: HostConfig, *declared: str, **others: MountPoint) -> dict[str, MountPoint]:
    """All mounts by destination."""
    config = ContainerConfig(volumes={path: {} for path in declared})
    inherited = {point.destination: point for point in others.values()}
    found = all_points(parse_mounts(host), inherited, config, volume_driver="", tmpfs={"/scratch"})
    return {point.destination: point for point in found}


def test_declared_paths_get_anonymous_volumes_where_nothing_else_is() -> None:
    """Binds, named volumes and tmpfs go before; trailing slashes mean nothing."""
    found = points(
        HostConfig(binds=["/host:/bound", "named:/named"]),
        *("/bound/", "/named", "/scratch", "/free/"),
    )
    assert list(found) == ["/bound", "/named", "/free"]
    assert (found["/free"].type, found["/free"].name, found["/free"].copy_data) == (
        *("volume", ""),
        True,
    )
    assert found["/free"].mode == ""
    assert found["/named"].mode == "z"


def test_own_mounts_go_before_inherited_ones() -> None:
    """At the same destination; other inherited ones stay."""
    old = MountPoint(type="volume", destination="/data", name="old", source="/v/old")
    other = MountPoint(type="bind", destination="/other", source="/host")
    found = points(HostConfig(binds=["new:/data"]), old=old, other=other)
    assert (found["/data"].name, found["/other"]) == ("new", other)


def test_volumes_from_takes_mounts_and_mode() -> None:
    """`ro` takes the right to write away; nothing is copied up again."""
    mounts = [
        MountPoint(type="volume", destination="/a", name="a", copy_data=True, mode="z"),
        MountPoint(type="bind", destination="/b", source="/b", rw=False),
    ]
    container = cast(Any, SimpleNamespace(definition=SimpleNamespace(mounts=mounts)))
    for text, writable in (("c", True), ("c:rw", True), ("c:ro", False), ("c:z", True)):
        found = points_from_others([text], {"c": container}.__getitem__)
        assert [(p.rw, p.mode, p.copy_data) for p in found.values()] == [
            (writable, "", False),
            (False, "", False),
        ]
    for text in ("c:zzz", "c:nocopy", "c:ro,rw"):
        with pytest.raises(InvalidParameter, match="invalid mode: "):
            points_from_others([text], {"c": container}.__getitem__)
    with pytest.raises(InvalidParameter, match="cannot be an empty string"):
        points_from_others([""], {"c": container}.__getitem__)


def test_volumes_from_a_container_that_is_not_there() -> None:
    """400 as dockerd: after a 404 the docker CLI would pull the image, and say nothing of it."""

    def find(ref: str) -> Any:
        raise NotFound(f"No such container: {ref}")

    with pytest.raises(InvalidParameter, match="No such container: nope"):
        points_from_others(["nope:ro"], find)


def test_mounts_ask_for_volumes_with_their_options() -> None:
    """Labels and driver options come along."""
    options = VolumeOptions(
        labels={"a": "b"}, driver_config=DriverConfig(name="local", options={"type": "tmpfs"})
    )
    mount = Mount(type="volume", source="v1", target="/v", volume_options=options)
    (point,) = points(HostConfig(mounts=[mount])).values()
    request = request_of(point)
    assert (request.name, request.driver) == ("v1", "local")
    assert (request.labels, request.options) == ({"a": "b"}, {"type": "tmpfs"})


def test_volumes_are_put_where_they_were_asked_for() -> None:
    """In order; who named none has an anonymous one."""
    asked = [
        MountPoint(type="bind", destination="/b", source="/b"),
        MountPoint(type="volume", destination="/n", name="named"),
        MountPoint(type="volume", destination="/u"),
    ]
    given = [Volume(name=name, created_at_ns=1) for name in ("named", "feed")]
    bind, named, unnamed = with_volumes(asked, given, lambda name: Path("/v") / name)
    assert bind is asked[0]
    assert (named.name, named.source, named.driver) == ("named", "/v/named", "local")
    assert (named.is_anonymous, unnamed.is_anonymous, unnamed.name) == (False, True, "feed")
