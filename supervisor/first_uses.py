"""What the first container's start would wait for, imported in a thread once servers accept.

A start of the engine needs none of it. What else is imported with its first use (builds, archives,
commits, audits) stays away until then: its first user waits some milliseconds for it, and an engine
that is never asked for it is smaller by it.
"""

from __future__ import annotations

from typing import Final

MODULES: Final = (
    "services.containers.spec.build",
    "services.containers.spec.validation",
    "services.containers.stdio.stdio",
    "services.networks.dns.serving",
)


def load() -> None:
    """Import it. Blocks for some milliseconds."""
    for name in MODULES:
        __import__(name)  # see `lazily`
