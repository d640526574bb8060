"""`python -m supervisor reload`: the engine reads its configuration file again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from .client import Client
from .frame import carry_out

DRY_RUN = click.Option(["--dry-run"], is_flag=True, help="Only say what would happen")


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Exit status 0 when it was reloaded, 1 when everything is as it was; see `COMMANDS`."""
    return carry_out(
        "reload",
        argv,
        environment,
        act=_reload,
        help="Read the configuration file again, as one transaction: all of it takes effect, or "
        "nothing does. Prints what was done with which settings.",
        options=[DRY_RUN],
    )


def _reload(client: Client, *, dry_run: bool) -> int:
    answer = client.post("/reload", **({"dry-run": "1"} if dry_run else {}))
    print("\n".join(_lines(answer)))
    return 0


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    would = "would be " if answer["DryRun"] else ""
    found = False
    if answer["Applied"]:
        found = True
        yield f"{would}applied: {', '.join(answer['Applied'])}"
    for part in answer["Restarted"]:
        found = True
        yield f"{would}changed alone: {part['Part']} (for {', '.join(part['Settings'])})"
    if answer["NeedDaemonRestart"]:
        found = True
        yield f"waits for a restart of the daemon: {', '.join(answer['NeedDaemonRestart'])}"
    for path in answer["Reread"]:
        yield f"{would}read again: {path}"
    if not found:
        yield "no setting differs from what is in force"
