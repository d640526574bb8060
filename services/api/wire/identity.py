"""What every answer says about the daemon that gives it.

Source: dockerd's version and experimental middleware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.api.versions.version import CURRENT


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """What the API says about its daemon in each answer."""

    engine_version: str
    experimental: bool = False
    has_buildkit: bool = True

    @property
    def ping_headers(self) -> tuple[tuple[str, str], ...]:
        """What a ping says besides: which builder a client is to take unless it is told."""
        return (("Builder-Version", "2" if self.has_buildkit else "1"),)


class Identity:
    """The daemon's present `AppConfig`, which a reload replaces, and its part in a swarm.

    `swarm_role` is asked for each ping: "inactive", "active/manager", ... (`ClusterFace`).
    """

    def __init__(
        self, config: AppConfig, *, swarm_role: Callable[[], str] = lambda: "inactive"
    ) -> None:
        self._config = config
        self._headers = identity_headers(config)
        self.swarm_role = swarm_role

    @property
    def config(self) -> AppConfig:
        """What is said now; another object after each change."""
        return self._config

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """As `identity_headers`."""
        return self._headers

    def change(self, config: AppConfig) -> None:
        """Say this from the next answer on."""
        self._config, self._headers = config, identity_headers(config)


def identity_headers(config: AppConfig) -> tuple[tuple[str, str], ...]:
    """The headers by which clients know the daemon: dockerd's, with our name as the server's."""
    return (
        ("Api-Version", str(CURRENT)),
        ("Docker-Experimental", "true" if config.experimental else "false"),
        ("Ostype", "linux"),
        ("Server", f"Wharfinger/{config.engine_version} (linux)"),
    )
