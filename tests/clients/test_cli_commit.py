"""`docker commit`: files, settings, history, names; and what it leaves when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")
COMMAND = "echo hi >/new; ln /new /twin; rm /etc/group; rm -r /home; mkdir /home; chmod 700 /root"


@pytest.fixture(scope="module")
def committing() -> Iterator[Daemon]:
    """A daemon whose images these tests may change, with a container `box` to commit."""
    settings = ("-e", "X=1", "-w", "/w", "-l", "a=b")
    with running_daemon() as daemon:
        daemon.docker("run", "--name", "box", *NONE, *settings, "busybox", "sh", "-c", COMMAND)
        yield daemon


def test_files_and_settings(committing: Daemon) -> None:
    """The layer holds what changed and what was deleted; settings are joined with the changes."""
    daemon = committing
    changes = ('CMD ["cat","/new"]', 'ENV B="two words"', "LABEL c=d", "EXPOSE 80")
    flags = [flag for change in changes for flag in ("-c", change)]
    made = daemon.docker("commit", "-a", "me", "-m", "why", *flags, "box", "made:tag").text
    image = json.loads(daemon.docker("inspect", "made:tag").out)[0]
    assert (image["Id"], image["Author"], image["Comment"]) == (made, "me", "why")
    config = image["Config"]
    assert (config["Cmd"], config["WorkingDir"]) == (["cat", "/new"], "/w")
    assert {"X=1", "B=two words"} <= set(config["Env"])
    assert (config["Labels"], list(config["ExposedPorts"])) == ({"a": "b", "c": "d"}, ["80/tcp"])
    run = ("run", "--rm", *NONE, "made:tag")
    assert daemon.docker(*run).text == "hi"
    script = "ls /etc/group /home/*; stat -c %a /root; stat -c %h /new; ls -a /"
    shown = daemon.docker(*run, "sh", "-c", script).text.splitlines()
    assert shown[:2] == ["700", "2"]
    history = daemon.docker("history", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:tag")
    assert history.text.splitlines()[0].endswith("|why")


def test_changes_are_made_to_the_containers_settings(committing: Daemon) -> None:
    """In its order; an empty command empties it, another entrypoint drops it; triggers are kept."""
    daemon = committing
    made_with = ("-e", "A=1", "-e", "Z=1", "--entrypoint", "sh")
    daemon.docker("create", "--name", "changed", *NONE, *made_with, "busybox", "-c", "true")

    def config_after(*changes: str) -> dict[str, Any]:
        flags = [flag for change in changes for flag in ("-c", change)]
        daemon.docker("commit", *flags, "changed", "changed:1")
        answer = daemon.http("GET", "/v1.41/images/changed:1/json").json()["Config"]
        return dict(answer)

    own = daemon.http("GET", "/containers/changed/json").json()["Config"]["Env"]
    assert {"A=1", "Z=1"} < set(own)
    kept = ["A=5" if entry == "A=1" else entry for entry in own]
    assert config_after("ENV B=2 A=5")["Env"] == [*kept, "B=2"]
    emptied, other = config_after("CMD []"), config_after('ENTRYPOINT ["cat"]')
    assert (emptied["Entrypoint"], emptied["Cmd"] or []) == (["sh"], [])
    assert (other["Entrypoint"], other["Cmd"]) == (["cat"], None)
    both = config_after('CMD ["/x"]', 'ENTRYPOINT ["cat"]')
    assert (both["Entrypoint"], both["Cmd"]) == (["cat"], ["/x"])
    assert config_after("ONBUILD RUN true")["OnBuild"] == ["RUN true"]
    daemon.docker("rm", "changed")


def test_nothing_changed(committing: Daemon) -> None:
    """An image of the same files under another configuration; its last step has no layer."""
    daemon = committing
    daemon.docker("create", "--name", "same", *NONE, "busybox", "true")
    daemon.docker("commit", "same", "same:1")
    images = [json.loads(daemon.docker("inspect", n).out)[0] for n in ("busybox", "same:1")]
    assert images[0]["RootFS"] == images[1]["RootFS"]
    assert images[0]["Id"] != images[1]["Id"]


def test_a_running_one_is_paused_meanwhile(committing: Daemon) -> None:
    """And goes on after it; the events tell."""
    daemon = committing
    daemon.docker("run", "-d", "--name", "live", *NONE, "busybox", "sleep", "1000")
    daemon.client().containers.get("live").commit("by", "py", changes="ENV A=b", message="m")
    daemon.docker("commit", "--pause=false", "live")
    assert daemon.docker("inspect", "live", "-f", "{{.State.Status}}").text == "running"
    told = daemon.http("GET", f"/events?since=1&until={time.time():.6f}").json_lines()
    mine = [event for event in told if event["Actor"]["Attributes"].get("name") == "live"]
    actions = [(e["Action"], e["Actor"]["Attributes"].get("imageRef")) for e in mine]
    assert actions[-4:] == [
        ("pause", None),
        ("unpause", None),
        ("commit", "by:py"),
        ("commit", ""),
    ]
    of_images = [event for event in told if event["Type"] == "image"]
    assert [event["Action"] for event in of_images[-3:]] == ["create", "tag", "create"]
    assert of_images[-2]["Actor"]["Attributes"]["name"] == "by:py"


def test_refusals(committing: Daemon) -> None:
    """With dockerd's words, and without an image."""
    daemon = committing
    before = daemon.docker("images", "-aq").text
    for arguments, words in (
        (("-c", "RUN x", "box"), "RUN is not a valid change command"),
        (("box", "Upper"), "repository name (library/Upper) must be lowercase"),
        (("nosuch",), "No such container: nosuch"),
    ):
        assert words in daemon.docker("commit", *arguments, code=1).error_text
    assert daemon.docker("images", "-aq").text == before
