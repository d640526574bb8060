"""`docker rename`."""

from __future__ import annotations

import pytest

from tests.clients.cli import create, refusal, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def test_names(daemon: Daemon) -> None:
    """The new name is found, the old one free; ids and their beginnings work as well."""
    container_id = start(daemon)
    assert daemon.docker("rename", "box", "crate").text == ""
    for ref in ("crate", "/crate", container_id, container_id[:12], container_id[:5]):
        found = daemon.docker("inspect", ref, "-f", "{{.Name}} {{.Id}}").text
        assert found == f"/crate {container_id}"
    assert "No such" in daemon.docker("inspect", "box", code=1).error_text
    create(daemon, name="box")


def test_refusals(daemon: Daemon) -> None:
    """dockerd's words; nothing is changed."""
    box = create(daemon)
    create(daemon, name="other")
    for words, said in {
        ("nosuch", "new"): "No such container: nosuch",
        ("box", "box"): "Renaming a container with the same name as its current name",
        ("other", "box"): (
            'Error when allocating new name: Conflict. The container name "/box" is already in '
            f'use by container "{box}". You have to remove (or rename) that container to be able '
            "to reuse that name."
        ),
        ("box", "a b"): (
            "Error when allocating new name: Invalid container name (/a b), only "
            "[a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        ),
    }.items():
        told, _ = refusal(daemon, "rename", *words).splitlines()  # and what the CLI makes of it
        assert told == said
    for ref in ("box", "nosuch"):  # the name is looked at first
        answer = daemon.http("POST", f"/containers/{ref}/rename?name=")
        assert (answer.status, answer.message) == (400, "Neither old nor new names may be empty")
    assert daemon.docker("ps", "-a", "--format", "{{.Names}}").text.split() == ["other", "box"]
