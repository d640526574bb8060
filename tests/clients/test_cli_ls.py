"""`docker container ls`, also called `docker ps`, and lists by the API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.clients.cli import NONE, create, refusal
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


@pytest.fixture(scope="module")
def three(shared_daemon: Daemon) -> Iterator[Daemon]:
    """One that runs on the bridge, one that ended with 3, one that never ran."""
    daemon = shared_daemon
    daemon.docker(
        "run", "-d", "--name", "first", "--expose", "80", "--expose", "53/udp", "busybox",
        "sleep", "1000",
    )  # fmt: skip
    daemon.docker(
        "run", "--name", "second", "-l", "a=b", *NONE, "busybox", "sh", "-c", "exit 3", code=3
    )
    create(daemon, "-v", "/tmp:/mnt", "-l", "a=x", "-l", "c", name="third", command=("echo", "a b"))
    yield daemon
    daemon.remove_containers()


def names(daemon: Daemon, *options: str) -> list[str]:
    """The names that a list shows."""
    return daemon.docker("ps", "--format", "{{.Names}}", *options).text.split()


def test_which_ones(three: Daemon) -> None:
    """Those that run; --all; --latest; --last: newest first."""
    assert names(three) == ["first"]
    assert names(three, "--all") == ["third", "second", "first"]
    assert names(three, "--latest") == ["third"]
    assert names(three, "--last", "2") == ["third", "second"]
    assert names(three, "-n", "0") == ["first"]


ALL = ["third", "second", "first"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("status=exited", ["second"]), ("status=created", ["third"]), ("exited=3", ["second"]),
        ("status=exited status=created", ["third", "second"]), ("status=dead", []),
        ("name=ir", ["third", "first"]), ("name=^/first$", ["first"]), ("name=^first$", ["first"]),
        ("name=(first|second)", ["second", "first"]), ("name=(", []), ("name=(?i)FIRST", ["first"]),
        ("label=a", ["third", "second"]), ("label=a=b", ["second"]), ("label=a label=c", ["third"]),
        ("before=second", ["first"]), ("since=second", ["third"]), ("since=third", []),
        ("before=third since=first", ["second"]),
        ("ancestor=busybox", ALL), ("ancestor=busybox:latest", ALL), ("ancestor=nosuch", []),
        ("ancestor=docker.io/library/busybox", ALL), ("ancestor=bus", []),
        ("network=none", ["third", "second"]), ("network=bridge", ["first"]), ("network=host", []),
        ("volume=/mnt", ["third"]), ("volume=/tmp", ["third"]), ("volume=/", []),
        ("expose=80", ["first"]), ("expose=50-90/udp", ["first"]), ("expose=81", []),
        ("publish=80", []), ("health=none", ALL), ("health=healthy", []),
        ("is-task=false", ALL), ("is-task=1", []), ("isolation=hyperv", ALL), ("id=x", []),
    ],
)  # fmt: skip
def test_filters(three: Daemon, filters: str, expected: list[str]) -> None:
    """--filter: each of the API's. Of several all must hold; of one's values any."""
    options = [word for filter_ in filters.split() for word in ("--filter", filter_)]
    assert names(three, "-a", *options) == expected


def test_filters_by_id_and_image_id(three: Daemon) -> None:
    """By the beginning of it; the image's by its own."""
    first = three.docker("ps", "-q", "--no-trunc").text
    image = three.docker("images", "-q", "--no-trunc", "busybox").text
    assert names(three, "-a", "--filter", f"id={first[:6]}") == ["first"]
    assert names(three, "-a", "--filter", f"ancestor={image}") == ALL
    assert names(three, "-a", "--filter", f"ancestor={image.partition(':')[2][:8]}") == ALL


def test_columns(three: Daemon) -> None:
    """--format, --no-trunc, --quiet, and the table without them."""
    columns = "{{.Command}}|{{.Image}}|{{.Status}}|{{.State}}|{{.Networks}}|{{.Labels}}|{{.Mounts}}"
    ran = three.docker("ps", "-a", "--no-trunc", "--filter", "name=third", "--format", columns)
    assert ran.text == "\"echo 'a b'\"|busybox|Created|created|none|a=x,c=|/tmp"
    assert three.docker("ps", "--format", "{{.Ports}}").text == "53/udp, 80/tcp"
    assert re.fullmatch("[0-9a-f]{12}", three.docker("ps", "--quiet").text)
    table = three.docker("ps", "-a").text.splitlines()
    assert table[0].split("  ")[0] == "CONTAINER ID"
    assert re.search(r"Exited \(3\) .* ago", table[2])
    assert json.loads(three.docker("ps", "--format", "json").text)["Names"] == "first"


def test_sizes(three: Daemon) -> None:
    """--size: what was written, and with the image."""
    shown = three.docker("ps", "-a", "--size", "--format", "{{.Size}}", "-f", "name=second").text
    assert re.fullmatch(r"[\d.]+k?B \(virtual [\d.]+MB\)", shown)


@pytest.mark.parametrize(
    ("filter_", "words"),
    [
        ("nosuch=x", "invalid filter 'nosuch'"),
        ("status=bogus", 'invalid value for filter "status": invalid value "bogus"'),
        ("exited=x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("before=nosuch", "No such container: nosuch"),
        ("health=NONE", "unrecognized filter value for health: NONE"),
        ("is-task=x", "invalid filter 'is-task=[x]'"),
        ("expose=x", 'error while looking up for expose x: strconv.ParseUint: parsing "x": '
         "invalid syntax"),
        ("publish=1:2", "filter for 'publish' should not contain ':': 1:2"),
    ],
)  # fmt: skip
def test_bad_filters(three: Daemon, filter_: str, words: str) -> None:
    """dockerd's words."""
    assert refusal(three, "ps", "--filter", filter_) == words


def test_a_pattern_cannot_hold_the_engine_up(three: Daemon) -> None:
    """Nested repetitions take other engines of patterns years."""
    create(three, name="a" * 200)
    assert names(three, "-a", "--filter", "name=^(a|a|aa)+(a+)+$x") == []
    assert names(three, "-a", "--filter", "name=^/?(a|a|aa)+(a+)+$") == ["a" * 200]
    three.docker("rm", "a" * 200)


def test_an_image_whose_name_has_moved_on(fresh_daemon: Daemon) -> None:
    """The container shows the image's id, and is found by the name that the image has now."""
    daemon = fresh_daemon
    daemon.docker("tag", "busybox", "moving:1")
    daemon.docker("create", "--name", "box", *NONE, "moving:1")
    assert daemon.docker("ps", "-a", "--format", "{{.Image}}").text == "moving:1"
    daemon.docker("rmi", "--force", "moving:1")
    image = daemon.docker("images", "-q", "--no-trunc", "busybox").text
    assert daemon.docker("ps", "-a", "--no-trunc", "--format", "{{.Image}}").text == image
    assert names(daemon, "-a", "--filter", "ancestor=busybox") == ["box"]
    assert names(daemon, "-a", "--filter", "ancestor=moving:1") == []


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.40", "1.47", "1.52"])
def test_members_by_version(three: Daemon, version: str) -> None:
    """What came later is not shown to older clients."""
    found = quote(json.dumps({"name": ["third"]}))
    (one,) = three.http("GET", f"/v{version}/containers/json?all=1&filters={found}").json()
    minor = int(version.partition(".")[2])
    assert ("ImageManifestDescriptor" in one) is (minor >= 48)
    assert ("Health" in one) is (minor >= 52)
    assert (one["Names"], one["Command"], one["State"]) == (["/third"], "echo 'a b'", "created")


@pytest.mark.parametrize(
    "path", ["/containers/json", "/containers/first/json", "/containers/first/top", "/version"]
)
def test_head_is_not_get(three: Daemon, path: str) -> None:
    """dockerd's router knows HEAD where the API has it, and nowhere else."""
    answer = three.http("HEAD", path)
    assert (answer.status, answer.body) == (404, b"")
    assert three.http("HEAD", "/_ping").status == 200
