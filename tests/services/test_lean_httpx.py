"""services.lean_httpx: httpx without its command line."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

PROGRAM: Final = """
import sys
from services import lean_httpx
engine = lean_httpx.load("services.registry.engine")
print(engine.__name__, *sorted({"httpx", "rich", "pygments", "httpx._main"} & set(sys.modules)))
import httpx._main
"""


def test_what_draws_on_a_terminal_is_not_imported() -> None:
    """Nor is the way to it barred for whoever wants it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("services.registry.engine httpx\n", "")
