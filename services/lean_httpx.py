"""httpx without its command line, which nobody here uses.

httpx imports that too where rich and pygments are installed, as they are here for the terminal's
pictures: more than half of its time, and 3 MB of memory for as long as the engine runs.

Source: httpx, httpx/__init__.py, which does without where `httpx._main` cannot be imported.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

_COMMAND_LINE: Final = "httpx._main"


def load(module: str = "httpx") -> Any:
    """The module `module`, which may import httpx. Blocks for a tenth of a second: in a thread."""
    if "httpx" not in sys.modules:
        # None is what the import system itself takes for "not to be imported". Who imports httpx
        # beside us waits for the import that is under way, so nobody else meets it.
        sys.modules.setdefault(_COMMAND_LINE, None)  # type: ignore[arg-type]
        try:
            importlib.import_module("httpx")
        finally:
            if sys.modules.get(_COMMAND_LINE) is None:
                sys.modules.pop(_COMMAND_LINE, None)
    return importlib.import_module(module)
