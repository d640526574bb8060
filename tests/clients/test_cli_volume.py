"""`docker volume ...`, -v, --mount, --volumes-from and rm -v, with the CLI and docker-py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cli import events_followed
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


@pytest.fixture(autouse=True)
def no_volumes(daemon: Daemon) -> Iterator[None]:
    """Every volume of a test goes with it."""
    yield
    daemon.remove_containers()
    for name in volumes(daemon):
        assert daemon.http("DELETE", f"/volumes/{name}").status == 204


def volumes(daemon: Daemon) -> list[str]:
    """The names of all volumes."""
    return [volume["Name"] for volume in daemon.http("GET", "/volumes").json()["Volumes"]]


def run(daemon: Daemon, *words: str, command: str = "true", code: int = 0) -> str:
    """The output of a shell command in a container that goes with its end."""
    ran = daemon.docker("run", "--rm", *NONE, *words, "busybox", "sh", "-c", command, code=code)
    return ran.text if code == 0 else ran.error_text


def test_create_ls_inspect_rm(daemon: Daemon) -> None:
    """All that `docker volume` has."""
    assert daemon.docker("volume", "create", "--label", "a=b", "v1").text == "v1"
    anonymous = daemon.docker("volume", "create").text
    assert len(anonymous) == 64
    (shown,) = json.loads(daemon.docker("volume", "inspect", "v1").text)
    assert (shown["Driver"], shown["Labels"], shown["Scope"]) == ("local", {"a": "b"}, "local")
    assert shown["Mountpoint"] == f"{daemon.data_root}/volumes/v1/_data"
    assert daemon.docker("volume", "ls", "-q").text.split() == sorted(["v1", anonymous])
    for flag, expected in (
        ("name=v1", ["v1"]),
        ("label=a=b", ["v1"]),
        ("driver=local", sorted(["v1", anonymous])),
        ("driver=nfs", []),
        ("dangling=1", sorted(["v1", anonymous])),
        ("dangling=0", []),
    ):
        assert daemon.docker("volume", "ls", "-q", "-f", flag).text.split() == expected, flag
    assert daemon.docker("volume", "rm", "v1", anonymous).text.split() == ["v1", anonymous]
    missing = daemon.docker("volume", "inspect", "v1", code=1).error_text
    assert "get v1: no such volume" in missing
    assert "get v1: no such volume" in daemon.docker("volume", "rm", "v1", code=1).error_text
    daemon.docker("volume", "rm", "-f", "v1")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("a",), "volume name is too short"),
        (("../x",), "includes invalid characters for a local volume name"),
        (("-d", "nope", "v1"), 'error looking up volume plugin nope: plugin "nope" not found'),
        (("-o", "foo=bar", "v1"), 'invalid option: "foo"'),
        (("-o", "type=tmpfs", "v1"), 'missing required option: "device"'),
    ],
)
def test_what_cannot_be_is_refused(daemon: Daemon, words: tuple[str, ...], error: str) -> None:
    """In dockerd's words; nothing is made."""
    assert error in daemon.docker("volume", "create", *words, code=1).error_text
    assert volumes(daemon) == []


def test_data_outlives_containers(daemon: Daemon) -> None:
    """By -v and by --mount, read-only for some; in use it cannot be removed."""
    run(daemon, "-v", "v1:/data", command="echo kept > /data/file")
    daemon.docker("create", *NONE, "--name", "user", "--mount", "type=volume,src=v1,dst=/d,ro",
                  "busybox", "sh", "-c", "cat /d/file; touch /d/x")  # fmt: skip
    ran = daemon.docker("start", "-a", "user", code=1)
    assert ran.text == "kept"
    assert "Read-only file system" in ran.error_text
    user = daemon.docker("inspect", "-f", "{{.Id}}", "user").text
    refused = daemon.docker("volume", "rm", "v1", code=1).error_text
    assert f"remove v1: volume is in use - [{user}]" in refused
    (mount,) = json.loads(daemon.docker("inspect", "-f", "{{json .Mounts}}", "user").text)
    assert mount == {
        "Type": "volume",
        "Name": "v1",
        "Source": f"{daemon.data_root}/volumes/v1/_data",
        "Destination": "/d",
        "Driver": "local",
        "Mode": "z",
        "RW": False,
        "Propagation": "",
    }
    assert daemon.docker("ps", "-aq", "--no-trunc", "-f", "volume=v1").text == user


def test_a_new_volume_gets_what_the_image_has(daemon: Daemon) -> None:
    """Hard links and all; not with nocopy, and not the second time."""
    count = "ls /bin | wc -l"
    of_image = run(daemon, command=count)
    assert run(daemon, "-v", "bin1:/bin", command=count) == of_image
    assert run(daemon, "-v", "bin1:/x", command="rm /x/ls; ls /x | wc -l") == str(int(of_image) - 1)
    assert run(daemon, "-v", "bin1:/bin", command="ls /x || echo gone", code=0) == "gone"
    assert run(daemon, "-v", "e1:/etc/init:nocopy", "-v", "e2:/etc", command="ls /etc/init") == ""


def test_anonymous_volumes_go_with_rm_v_and_with_rm(daemon: Daemon) -> None:
    """`rm` alone leaves them; named ones always stay."""
    words = (*NONE, "-v", "/anon", "-v", "named:/n", "--mount", "type=volume,dst=/m", "busybox")
    first = daemon.docker("create", *words).text
    assert len(volumes(daemon)) == 3
    daemon.docker("rm", "-v", first)
    assert volumes(daemon) == ["named"]
    second = daemon.docker("create", *words).text
    daemon.docker("rm", second)
    left = volumes(daemon)
    assert len(left) == 3
    run(daemon, "-v", "/other")
    wait_until(lambda: volumes(daemon) == left, "the volume of --rm is gone")
    pruned = daemon.docker("volume", "prune", "-f").text
    assert set(pruned.split()) >= set(left) - {"named"}
    assert volumes(daemon) == ["named"]
    assert "named" in daemon.docker("volume", "prune", "-af").text
    assert volumes(daemon) == []


def test_volumes_from_shares_mounts(daemon: Daemon) -> None:
    """And keeps what is anonymous while somebody still uses it."""
    daemon.docker("create", *NONE, "--name", "one", "-v", "/shared", "-v", "v1:/v", "busybox")
    daemon.docker("run", "--name", "two", *NONE, "--volumes-from", "one", "busybox", "sh", "-c",
                  "echo x > /shared/file; touch /v/y")  # fmt: skip
    read = run(daemon, "--volumes-from", "two:ro", command="cat /shared/file; touch /v/z", code=1)
    assert "Read-only file system" in read
    daemon.docker("rm", "-v", "one")
    assert run(daemon, "--volumes-from", "two", command="cat /shared/file; ls /v") == "x\ny"
    daemon.docker("rm", "-v", "two")
    assert volumes(daemon) == ["v1"]
    body = {"Image": "busybox", "HostConfig": {"VolumesFrom": ["nosuch"]}}
    refused = daemon.http("POST", "/containers/create", body)
    assert (refused.status, refused.message) == (400, "No such container: nosuch")


def test_options_mount_something_while_it_is_used(daemon: Daemon) -> None:
    """A tmpfs of a size; what cannot be mounted keeps the container from starting."""
    options = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m")
    daemon.docker("volume", "create", *options, "fast")
    assert run(daemon, "-v", "fast:/f", command="mount | grep ' /f '").startswith("tmpfs on /f")
    place = f"{daemon.data_root}/volumes/fast/_data"
    wait_until(lambda: place not in Path("/proc/mounts").read_text(), "it is unmounted")
    daemon.docker("volume", "create", "-o", "type=nosuch", "-o", "device=none", "bad")
    failed = run(daemon, "-v", "bad:/f", code=125)
    assert f"error while mounting volume '{place.replace('fast', 'bad')}'" in failed
    assert daemon.container_ids() == []


def test_a_part_of_a_volume(daemon: Daemon) -> None:
    """A subpath; a link in it that leads out leads nowhere."""
    run(daemon, "-v", "v1:/v", command="mkdir -p /v/a/b; echo in > /v/a/b/f; ln -s /etc /v/out")
    mount = "type=volume,src=v1,dst=/d,volume-subpath={}"
    assert run(daemon, "--mount", mount.format("a/b"), command="cat /d/f") == "in"
    failed = run(daemon, "--mount", mount.format("out"), code=127)
    assert "cannot access path out of volume v1: no such file or directory" in failed
    failed = run(daemon, "--mount", mount.format("nosuch"), code=127)
    assert "no such file or directory" in failed


def test_events_tell_of_volumes(daemon: Daemon) -> None:
    """create, mount, unmount, destroy, with dockerd's attributes."""
    with events_followed(daemon, "--filter", "type=volume", "--format", "{{json .}}") as events:
        assert events.stdout is not None
        name = daemon.docker("create", *NONE, "-v", "v1:/d:ro", "busybox", "true").text
        daemon.docker("start", "-a", name)
        daemon.docker("rm", name)
        daemon.docker("volume", "rm", "v1")
        told = [json.loads(events.stdout.readline()) for _ in range(4)]
    assert [event["Action"] for event in told] == ["create", "mount", "unmount", "destroy"]
    assert {event["Actor"]["ID"] for event in told} == {"v1"}
    assert told[1]["Actor"]["Attributes"] == {
        "container": name,
        "destination": "/d",
        "driver": "local",
        "propagation": "",
        "read/write": "false",
    }
    assert told[2]["Actor"]["Attributes"] == {"container": name, "driver": "local"}


def test_docker_py(daemon: Daemon) -> None:
    """The same through docker-py."""
    client: Any = daemon.client()
    volume = client.volumes.create("py1", labels={"a": "b"})
    assert (volume.name, volume.attrs["Labels"]) == ("py1", {"a": "b"})
    output = client.containers.run(
        "busybox", "sh -c 'echo hi > /d/f; cat /d/f'", network_mode="none", remove=True,
        volumes={"py1": {"bind": "/d", "mode": "rw"}},
    )  # fmt: skip
    assert output == b"hi\n"
    assert [one.name for one in client.volumes.list(filters={"label": "a=b"})] == ["py1"]
    client.volumes.get("py1").remove()
    client.volumes.create()
    assert len(client.volumes.prune()["VolumesDeleted"]) == 1


def test_old_prunes_take_named_volumes_too(daemon: Daemon) -> None:
    """Below 1.42 all that nobody uses go."""
    daemon.docker("volume", "create", "v1")
    pruned = daemon.http("POST", "/v1.42/volumes/prune").json()
    assert pruned == {"VolumesDeleted": [], "SpaceReclaimed": 0}
    assert daemon.http("POST", "/v1.41/volumes/prune").json()["VolumesDeleted"] == ["v1"]
