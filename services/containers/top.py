"""`docker top`: the host's ps, cut down to a container's processes."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable
from typing import Final

import trio

from services.errors import EngineError, InvalidParameter

PS_LIMIT_S: Final = 10.0
_SAFE_ARGUMENT: Final = re.compile(r"[A-Za-z0-9_=,%:.+-]*\Z")


async def list_processes(pids: Iterable[int], arguments: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of `ps ARGUMENTS` for the host's processes `pids`.

    Raises:
        InvalidParameter: ps does not know the arguments, or they leave the PID column out.
        EngineError: ps is missing or did not answer in time.
    """
    words, wanted = _checked(arguments), frozenset(pids)
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
        text = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise InvalidParameter(f"error running ps: {text}")
    return select_processes(done.stdout.decode(errors="replace"), wanted)


async def _ps(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        ["ps", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )


def select_processes(output: str, pids: frozenset[int]) -> tuple[list[str], list[list[str]]]:
    """The rows of ps's output whose PID is one of `pids`; the last column keeps its blanks.

    Raises:
        InvalidParameter: there is no PID column.
    """
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("couldn't find PID field in ps output")
    at = titles.index("PID")
    rows = [line.split(maxsplit=len(titles) - 1) for line in lines[1:] if line.strip()]
    rows = [row for row in rows if len(row) > at]  # a column may be empty
    return titles, [row for row in rows if row[at].isdecimal() and int(row[at]) in pids]


def _checked(arguments: str) -> list[str]:
    """No shell is involved; still only what column names and flags are made of is let through."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidParameter(f"invalid ps arguments: {error}") from None
    if not all(_SAFE_ARGUMENT.match(word) for word in words):
        raise InvalidParameter(f"invalid ps arguments: {arguments}")
    return words
