"""Every command for containers has its file of tests, and every flag of it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import require_docker

pytestmark = [pytest.mark.clients]

COMMANDS: Final = (
    "attach", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs", "ls", "pause",
    "port", "prune", "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause",
    "update", "wait",
)  # fmt: skip
SYSTEM: Final = {"events": "events", "info": "info", "version": "info"}
"""Further commands, and whose file they are in."""

NOT_HERE: Final = {
    "--checkpoint-dir", "--help",
    # Windows only, or without an effect of their own on Linux.
    "--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops", "--disable-content-trust",
    "--kernel-memory", "--volume-driver", "--use-api-socket",
    # Networks of one's own, published ports.
    "--ip", "--ip6", "--link-local-ip", "--network-alias", "--publish", "--publish-all",
    # In the tests of the settings: test_host_config.py, test_sharing.py, test_cli_volume.py.
    "--blkio-weight", "--blkio-weight-device", "--cpu-rt-period", "--cpu-rt-runtime", "--link",
    "--storage-opt", "--volumes-from",
}  # fmt: skip
"""Flags of create, run and update that are not tested with the command."""


WITHOUT_FLAGS: Final = {"diff", "pause", "port", "rename", "top", "unpause", "wait"}


def flags_of(command: str) -> dict[str, str]:
    """The long names that `docker COMMAND --help` shows, and their short ones."""
    helped = subprocess.run(
        ["docker", *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^ {2,6}(?:(-\w), )?(--[\w-]+)", helped.stdout, re.MULTILINE)
    return {long: short for short, long in found}


def has(text: str, flag: str, short: str) -> bool:
    """Whether a flag stands in a file of tests, by its long name or as a word of its short one."""
    return re.search(rf"{flag}(?![\w-])", text) is not None or (
        short != "" and f'"{short}"' in text
    )


@pytest.mark.parametrize("command", [*COMMANDS, *SYSTEM])
def test_every_flag_is_tried(command: str) -> None:
    """What run shares with create is tried there."""
    require_docker()
    folder = Path(__file__).parent
    text = (folder / f"test_cli_{SYSTEM.get(command, command)}.py").read_text()
    flags = flags_of(command if command in SYSTEM else f"container {command}")
    assert (flags.keys() <= {"--help"}) is (command in WITHOUT_FLAGS)
    if command == "run":
        text += (folder / "test_cli_create.py").read_text()
    missing = {flag for flag, short in flags.items() if not has(text, flag, short)}
    assert missing <= NOT_HERE


def test_no_command_is_forgotten() -> None:
    """All that `docker container` knows; commit comes with the building of images."""
    require_docker()
    helped = subprocess.run(
        ["docker", "container", "--help"], capture_output=True, text=True, check=True
    ).stdout
    known = set(re.findall(r"^  (\w+) ", helped.partition("Commands:")[2], re.MULTILINE))
    assert known - {"commit"} == set(COMMANDS)
