"""What `python -m supervisor <word>` does besides running the engine: one module for each word.

Each speaks to a running engine through `client`. A module is imported when its word is said: the
daemon's own start pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "audit": "Compare what the engine means there to be with what the machine has",
        "crashes": "What has failed lately, with tracebacks",
        "reload": "Read the configuration file again, as one transaction",
        "restart": "Restart one part of the engine",
        "tasks": "What each task of the engine waits for, and how long",
        "tree": "The supervision tree as it is, or with --watch as it lives",
    }
)
"""Each word with what it is for. The module has the word's name, and
`main(argv: Sequence[str], environment: Mapping[str, str]) -> int`, whose answer is the exit status.
"""
_HOST: Final = ("-H", "--host=")


def command_of(argv: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """The word that `argv` says and its arguments; None for the engine itself.

    The engine's address may come first, as with the docker command: `-H HOST tree`.
    """
    begin = 0
    while begin < len(argv) and (argv[begin] == "--host" or argv[begin].startswith(_HOST)):
        begin += 2 if argv[begin] in ("-H", "--host") else 1
    if begin < len(argv) and argv[begin] in COMMANDS:
        return argv[begin], [*argv[begin + 1 :], *argv[:begin]]
    return None
