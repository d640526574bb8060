"""`python -m supervisor tree`: the supervision tree, once or as it lives."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from .client import Client
from .frame import carry_out

HELP: Final = """Show the supervision tree: each part's state, how long it has been in it, how often
it was restarted, its last crash. Containers are its leaves.

With --watch the picture is kept up to date, and a crash flashes; without a terminal the reports of
the tree are printed instead, one a line."""

EVERYTHING: Final = "20"


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; its exit status."""
    options = (
        click.Argument(["path"], default=""),
        click.Option(["-w", "--watch"], is_flag=True, help="Go on until interrupted"),
        click.Option(["-a", "--all", "everything"], is_flag=True, help="Containers' parts too"),
        click.Option(["--json", "as_json"], is_flag=True, help="As the engine answers"),
    )
    return carry_out("tree", argv, environment, act=_act, help=HELP, options=options)


def _act(client: Client, *, path: str, watch: bool, everything: bool, as_json: bool) -> int:
    def picture() -> dict[str, Any]:
        query = {"depth": EVERYTHING} if everything or path else {}
        tree: dict[str, Any] = client.get("/tree", **query)
        if not path:
            return tree
        from .paths import find_part

        return find_part(tree, path)

    if watch and sys.stdout.isatty():
        from .live import watch_tree

        return watch_tree(client, picture)
    if watch:
        from .live import print_reports

        return print_reports(client)
    tree = picture()
    if as_json:
        print(json.dumps(tree, indent=2))
        return 0
    from .picture import make_console, render

    make_console().print(render(tree, now_ns=time.time_ns()))
    return 0
