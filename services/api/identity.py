"""What every answer says about the daemon that gives it.

Source: dockerd's version and experimental middleware.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.api.version import CURRENT


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """What the API says about its daemon in each answer."""

    engine_version: str
    experimental: bool = False
    ping_headers: tuple[tuple[str, str], ...] = (("Builder-Version", "1"), ("Swarm", "inactive"))


def identity_headers(config: AppConfig) -> tuple[tuple[str, str], ...]:
    """The headers by which clients know the daemon: dockerd's, with our name as the server's."""
    return (
        ("Api-Version", str(CURRENT)),
        ("Docker-Experimental", "true" if config.experimental else "false"),
        ("Ostype", "linux"),
        ("Server", f"Wharfinger/{config.engine_version} (linux)"),
    )
