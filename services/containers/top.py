"""`docker top`: the host's ps, cut down to a container's processes.

Source: moby, daemon/top_unix.go; dockerd answers a mistake with 500, here it is 400 in its words.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Final

import trio

from services.errors import EngineError, InvalidParameter

PS_LIMIT_S: Final = 10.0
LONGEST_ARGUMENTS: Final = 4096
_BLANKS: Final = re.compile(r"[\t\n\v\f\r ]+")  # not every blank that Unicode knows
_PID_TITLE: Final = re.compile(r"[\t\n\f\r ]+([^\s]*)=[\t\n\f\r ]*(PID[^\s]*)")
"""Gives a column a title that could be taken for the one with the pids."""


async def list_processes(pids: Iterable[int], arguments: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of `ps ARGUMENTS` for the host's processes `pids`.

    Raises:
        InvalidParameter: ps does not know the arguments, or they leave the PID column out.
        EngineError: ps is missing or did not answer in time.
    """
    words, wanted = checked_arguments(arguments), frozenset(pids)
    # Without it, ps leaves out what has another terminal. Not every option of ps goes with it.
    selection = f"-q{','.join(map(str, sorted(wanted)))}"
    try:
        with trio.fail_after(PS_LIMIT_S):
            done = await _ps(*words, selection)
            if done.returncode != 0:
                done = await _ps(*words)
    except FileNotFoundError:
        raise EngineError("ps is not installed on the host") from None
    except trio.TooSlowError:
        raise EngineError(f"ps did not answer within {PS_LIMIT_S:.0f} s") from None
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").partition("\n")[0]
        raise InvalidParameter(f"ps: {text or f'exit status {done.returncode}'}")
    return select_processes(done.stdout.decode(errors="replace"), wanted)


async def _ps(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        ["ps", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )


def select_processes(output: str, pids: frozenset[int]) -> tuple[list[str], list[list[str]]]:
    """The rows of ps's output whose PID is one of `pids`; the last column keeps its blanks.

    A row with "-" there is a thread of the process above it.

    Raises:
        InvalidParameter: there is no PID column.
    """
    lines = output.splitlines()
    titles = _BLANKS.split(lines[0].strip()) if lines else []
    if "PID" not in titles:
        raise InvalidParameter("couldn't find PID field in ps output")
    at = titles.index("PID")
    chosen: list[list[str]] = []
    is_within = False
    for line in lines[1:]:
        row = line.split(maxsplit=len(titles) - 1)
        if len(row) <= at:  # a column may be empty
            continue
        if row[at] != "-":
            is_within = row[at].isdecimal() and int(row[at]) in pids
        if is_within:
            chosen.append(row)
    return titles, chosen


def checked_arguments(arguments: str) -> list[str]:
    """The words for ps. No shell is involved: it gets them as they are, and refuses what is none.

    Raises:
        InvalidParameter: what no program can be given, or what would be mistaken for the PIDs.
    """
    if "\0" in arguments or len(arguments) > LONGEST_ARGUMENTS:
        raise InvalidParameter("invalid ps arguments")
    for name, title in _PID_TITLE.findall(arguments):
        if name != "pid":
            raise InvalidParameter(f'specifying "{name}={title}" is not allowed')
    return [word for word in _BLANKS.split(arguments) if word]
