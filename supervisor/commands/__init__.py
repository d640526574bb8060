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
        "reload": "Read the configuration file again, as one transaction",
    }
)
"""Each word with what it is for. The module has the word's name, and
`main(argv: Sequence[str], environment: Mapping[str, str]) -> int`, whose answer is the exit status.
"""
