"""`docker diff`: what a container has changed, on the real overlay."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

COMMAND = (
    "mkdir -p /a/b; ln -s b /a/l; rm /etc/group; mkdir /var/x; "
    "rm -r /var/spool; mkdir /var/spool; chmod 4755 /bin/true; mv /home /house"
)


def test_changes_by_kind(daemon: Daemon) -> None:
    """Added, changed, deleted; a folder made anew, a folder that was renamed."""
    daemon.docker("run", "--name", "box", "--network", "none", "busybox", "sh", "-c", COMMAND)
    assert daemon.docker("diff", "box").text.splitlines() == [
        *("A /a", "A /a/b", "A /a/l", "C /bin", "C /bin/true", "C /etc", "D /etc/group"),
        *("D /home", "A /house", "C /var", "C /var/spool", "D /var/spool/mail", "A /var/x"),
    ]


def test_none(daemon: Daemon) -> None:
    """What a start puts there does not count; the API's answer is null then."""
    daemon.docker("run", "--name", "box", "--network", "none", "busybox", "true")
    assert daemon.docker("diff", "box").text == ""
    assert daemon.http("GET", "/containers/box/changes").body.strip() == b"null"
    assert daemon.client().containers.get("box").diff() is None
