"""An engine that never speaks to a registry does not pay for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

PROGRAM: Final = """
import sys
import supervisor.parts, supervisor.faces.routes, services.api.routes.registry
late = {"httpx", "httpcore", "anyio", "services.registry.engine", "services.registry.session"}
print(", ".join(sorted(late & set(sys.modules))))
"""


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    """Neither the daemon's parts nor its routes bring httpx along."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
