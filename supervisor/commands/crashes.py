"""`python -m supervisor crashes`: the newest failures in the tree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import click

from .client import Client
from .frame import carry_out

HELP: Final = """Show what has failed in the supervision tree since the engine started, newest last:
crashes, starts and stops that failed, supervisors that gave up, parts that do not end. The engine
keeps the newest hundred."""


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; its exit status."""
    options = (
        click.Option(["-n", "--last"], type=click.IntRange(1), help="So many of the newest"),
        click.Option(["-t", "--tracebacks"], is_flag=True, help="With tracebacks and stacks"),
        click.Option(["--json", "as_json"], is_flag=True, help="As the engine answers"),
    )
    return carry_out("crashes", argv, environment, act=_act, help=HELP, options=options)


def _act(client: Client, *, last: int | None, tracebacks: bool, as_json: bool) -> int:
    crashes = client.get("/crashes")[-(last or 0) :]
    if as_json:
        print(json.dumps(crashes, indent=2))
        return 0
    from .live import report_line
    from .picture import make_console

    console = make_console()
    for crash in crashes:
        console.print(report_line(crash))
        if tracebacks:
            text = crash.get("traceback") or "\n".join(crash.get("stack", ()))
            console.print(text, markup=False, soft_wrap=True)
    if not crashes:
        console.print("nothing has failed")
    elif not tracebacks:
        console.print("--tracebacks shows where", style="bright_black")
    return 0
