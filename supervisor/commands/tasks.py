"""`python -m supervisor tasks`: the task census."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from .client import Client
from .frame import carry_out

HELP: Final = """Show each task of the engine: how long it has waited, at least, for what, where.
Tasks are indented below those that own them.

The engine looks at all tasks every two seconds, so that a wait is known to be that long; 0s is a
task that has run since."""


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; its exit status."""
    options = (
        click.Option(["-p", "--part"], default="", help="Only those of this part and below"),
        click.Option(["-l", "--longest"], is_flag=True, help="Longest wait first"),
        click.Option(["-s", "--stacks"], is_flag=True, help="With stacks, innermost first"),
        click.Option(["--json", "as_json"], is_flag=True, help="As the engine answers"),
    )
    return carry_out("tasks", argv, environment, act=_act, help=HELP, options=options)


def _act(client: Client, *, part: str, longest: bool, stacks: bool, as_json: bool) -> int:
    if part:
        from .paths import find_part

        part = find_part(client.get("/tree", depth="20"), part)["path"]
    census: dict[str, Any] = client.get("/tasks", **({"part": part} if part else {}))
    if as_json:
        print(json.dumps(census, indent=2))
        return 0
    _show(census, longest=longest, stacks=stacks)
    return 0


def _show(census: dict[str, Any], *, longest: bool, stacks: bool) -> None:
    from rich.text import Text

    from .picture import make_console, span

    console = make_console()
    tasks = census["tasks"]
    if longest:
        tasks = sorted(tasks, key=lambda task: -task["waited_s"])
    top = min((task["depth"] for task in tasks), default=0)
    for task in tasks:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{span(int(task['waited_s'] * 1e9)):>6}  ", style="bright_black")
        text.append("" if longest else "  " * (task["depth"] - top))
        text.append(task["name"].removeprefix("services.").removeprefix("supervisor."))
        text.append(f"  waits for {task['waits_for']}", style="cyan")
        text.append(f"  {task['at']}", style="bright_black")
        console.print(text)
        if stacks:
            for frame in task["stack"]:
                console.print(f"          {frame}", markup=False, style="bright_black")
    waits = ", ".join(f"{count} for {what}" for what, count in list(census["waits"].items())[:5])
    console.print(f"{census['total']} tasks: {waits}")
    if census["left_out"]:
        console.print(f"{census['left_out']} are not shown")
