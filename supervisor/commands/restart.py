"""`python -m supervisor restart PATH`: one part of a running engine ends and starts again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import click

from .client import Client, ClientError
from .frame import carry_out

HELP: Final = """Restart one part of the engine. It drains, ends and starts again, alone; what needs
it waits meanwhile. PATH is a path as `tree` shows it ("engine/images"), or a container's name: then
it is what watches over the container, and the container runs on.

Parts whose restart would take others along are refused."""


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; its exit status."""
    options = (click.Argument(["path"]),)
    return carry_out("restart", argv, environment, act=_act, help=HELP, options=options)


def _act(client: Client, *, path: str) -> int:
    from .paths import find_part

    part = find_part(client.get("/tree", depth="20"), path)
    if not part.get("can_restart"):
        raise ClientError(f"{part['path']} is not restarted: {part.get('why_not', '')}")
    if part.get("costs"):
        print(part["costs"])
    answer = client.post(f"/parts/{quote(part['path'])}/restart")
    print(f"{answer['path']} was restarted and is {answer['state']}")
    return 0
