"""iptables' chain FORWARD where iptables still speaks to the kernel's old tables. Blocks.

nftables sees nothing of these. They are looked at where they are there: asking would make them.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Final

from services.errors import EngineError

LIMIT_S: Final = 10.0
_PROGRAMS: Final = {
    "iptables-legacy": Path("/proc/thread-self/net/ip_tables_names"),
    "ip6tables-legacy": Path("/proc/thread-self/net/ip6_tables_names"),
}


def open_legacy_chains(bridges: Collection[str], comment: str) -> None:
    """Have our rules at the end of each such chain whose policy is DROP, for these bridges only.

    Raises:
        EngineError: there is such a chain, and it cannot be opened.
    """
    for program, names in _PROGRAMS.items():
        try:
            has_table = "filter" in names.read_text().split()
        except OSError:  # a kernel without them
            continue
        if has_table:
            _open(program, bridges, comment)


def _open(program: str, bridges: Collection[str], comment: str) -> None:
    rules = _run(program, "-S", "FORWARD").splitlines()
    drops = "-P FORWARD DROP" in rules
    wanted = {_rule(end, bridge, comment) for bridge in bridges for end in "oi"} if drops else set()
    present = {tuple(shlex.split(rule))[2:] for rule in rules if rule.startswith("-A ")}
    ours = {rule for rule in present if comment in rule and "--comment" in rule}
    for rule in sorted(ours - wanted):
        _run(program, "-D", "FORWARD", *rule)
    for rule in sorted(wanted - ours):
        _run(program, "-A", "FORWARD", *rule)


def _rule(end: str, bridge: str, comment: str) -> tuple[str, ...]:
    return (f"-{end}", bridge, "-m", "comment", "--comment", comment, "-j", "ACCEPT")


def _run(program: str, *arguments: str) -> str:
    command = [program, "-w", "5", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{program}: {error}") from error
    if done.returncode != 0:
        raise EngineError(f"{program}: {done.stderr.strip()}")
    return done.stdout
