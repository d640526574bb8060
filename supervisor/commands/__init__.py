"""What `python -m supervisor <word>` does besides running the engine: one module for each word.

Each speaks to a running engine through `supervisor.client`. A module is imported when its word is
said: the daemon's own start pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
