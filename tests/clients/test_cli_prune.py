"""`docker container prune`, and the sizes that it speaks of."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote

import pytest

from tests.clients.cli import NONE
from tests.services.api.openapi import require_definition
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def run_detached(
    daemon: Daemon, *options: str, command: tuple[str, ...] = ("sleep", "1000")
) -> str:
    """Start a container that stays, and return its id."""
    return daemon.docker("run", "-d", *options, "busybox", *command).text


WRITES_A_MEGABYTE = ("dd", "if=/dev/zero", "of=/file", "bs=1M", "count=1")
MEGABYTE = 1 << 20


def run_to_its_end(daemon: Daemon, *options: str, command: tuple[str, ...] = ("true",)) -> str:
    """Run a container that ends and stays; its id."""
    container = run_detached(daemon, *NONE, *options, command=command)
    daemon.docker("wait", container)
    return container


def test_sizes_are_what_was_written_and_what_is_below(daemon: Daemon) -> None:
    """In the list and in the inspect, when asked for, and as the definition has them."""
    definition = require_definition()
    writer = run_to_its_end(daemon, command=WRITES_A_MEGABYTE)
    daemon.docker("create", *NONE, "busybox")
    listed = daemon.http("GET", "/containers/json?all=1&size=1").json()
    definition.validate("ContainerList", 200, listed)
    inspected = daemon.http("GET", f"/containers/{writer}/json?size=1").json()
    definition.validate("ContainerInspect", 200, inspected)
    newer, older = listed
    assert MEGABYTE <= older["SizeRw"] < MEGABYTE + 100_000
    assert newer["SizeRw"] < 100_000
    assert newer["SizeRootFs"] - newer["SizeRw"] == older["SizeRootFs"] - older["SizeRw"] > MEGABYTE
    assert (inspected["SizeRw"], inspected["SizeRootFs"]) == (older["SizeRw"], older["SizeRootFs"])
    assert "SizeRw" not in daemon.http("GET", f"/containers/{writer}/json").json()
    assert "SizeRw" not in daemon.http("GET", "/containers/json?all=1").json()[0]


def test_the_cli_shows_sizes(daemon: Daemon) -> None:
    """`docker ps -s` and `docker inspect -s`."""
    writer = run_to_its_end(daemon, command=WRITES_A_MEGABYTE)
    shown = daemon.docker("ps", "-a", "-s", "--format", "{{.Size}}").text
    assert re.fullmatch(r"1\.0\dMB \(virtual [\d.]+MB\)", shown)
    written = daemon.docker("inspect", "-s", "--format", "{{.SizeRw}}", writer).text
    assert int(written) >= MEGABYTE


def test_prune_takes_what_does_not_run(daemon: Daemon) -> None:
    """Stopped and never started ones go, running ones stay; the space is what was written."""
    stays = run_detached(daemon, *NONE)
    gone = {
        run_to_its_end(daemon, command=WRITES_A_MEGABYTE),
        daemon.docker("create", *NONE, "busybox").text,
    }
    pruned = daemon.client().containers.prune()
    require_definition().validate("ContainerPrune", 200, pruned)
    assert set(pruned["ContainersDeleted"]) == gone
    assert pruned["SpaceReclaimed"] >= MEGABYTE
    assert daemon.container_ids() == [stays]
    events = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    told = [event for event in events if event["Action"] == "prune"][-1]
    assert told["Type"] == "container"
    assert told["Actor"]["Attributes"] == {"reclaimed": str(pruned["SpaceReclaimed"])}


def test_prune_through_the_cli_with_filters(daemon: Daemon) -> None:
    """Labels to have and not to have, and an age."""
    plain = daemon.docker("create", *NONE, "busybox").text
    old = daemon.docker("create", *NONE, "--label", "old=1", "busybox").text
    kept = daemon.docker("create", *NONE, "--label", "old=1", "--label", "keep", "busybox").text
    prune = ("container", "prune", "-f", "--filter")
    assert "Deleted" not in daemon.docker(*prune, "until=1h").text
    ran = daemon.docker(*prune, "label=old", "--filter", "label!=keep").text
    assert old in ran
    assert "Total reclaimed space: " in ran
    assert set(daemon.container_ids()) == {plain, kept}
    daemon.docker(*prune, "until=0s")
    assert daemon.container_ids() == []


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"bogus": ["1"]}, "invalid filter 'bogus'"),
        ({"until": ["1h", "2h"]}, "more than one until filter specified"),
    ],
)
def test_prune_refuses_filters_that_it_does_not_know(
    daemon: Daemon, filters: dict[str, list[str]], words: str
) -> None:
    """Before it removes anything."""
    container = daemon.docker("create", *NONE, "busybox").text
    answer = daemon.http("POST", f"/containers/prune?filters={quote(json.dumps(filters))}")
    assert (answer.status, answer.json()) == (400, {"message": words})
    assert daemon.container_ids() == [container]
