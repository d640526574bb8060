"""What first requests would wait for, imported in a thread once servers accept.

A start of the engine needs none of it; imported by the request itself it would hold up the loop for
some milliseconds, and all other clients with it. What is heavy and seldom wanted stays away until
its first use, which imports it in a thread (registries, reloads) or in a moment (audits).
"""

from __future__ import annotations

from typing import Final

MODULES: Final = (
    "services.build.under_way",
    "services.containers.spec.build",
    "services.containers.spec.validation",
    "services.containers.stdio.stdio",
    "services.images.remover",
    "services.images.save",
    "services.networks.dns.serving",
)


def load() -> None:
    """Import it. Blocks for some milliseconds."""
    for name in MODULES:
        __import__(name)  # see `lazily`
