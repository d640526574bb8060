"""`python -m supervisor audit`: compare what the engine means there to be with the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from .client import Client
from .frame import carry_out

REPAIR = click.Option(["--repair"], is_flag=True, help="Mend what is safe to mend, and say what")


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Exit status 0 when nothing is wrong (any more), 1 when something is; see `COMMANDS`."""
    return carry_out(
        "audit",
        argv,
        environment,
        act=_audit,
        help="Compare tasks, file systems, folders, mounts, volumes, images, leases, links, the "
        "firewall, ports and the database with what the engine means there to be. "
        "Takes some seconds.",
        options=[REPAIR],
    )


def _audit(client: Client, *, repair: bool) -> int:
    answer = client.post("/audit", **({"repair": "1"} if repair else {}))
    print("\n".join(_lines(answer)))
    return 0 if answer["Clean"] else 1


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for finding in answer["Mended"]:
        yield f"mended: {_line(finding)}"
    for error in answer["MendErrors"]:
        yield f"not mended: {error}"
    for check in answer["Checks"]:
        if check["Error"]:
            yield f"{check['Kind']}: cannot tell: {check['Error']}"
        yield from map(_line, check["Findings"])
    if answer["Clean"]:
        yield f"nothing wrong: {', '.join(check['Kind'] for check in answer['Checks'])}"


def _line(finding: Mapping[str, str]) -> str:
    return f"{finding['Kind']}: {finding['Subject']}: {finding['Text']}"
