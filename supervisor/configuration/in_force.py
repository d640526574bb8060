"""What is in force: the settings, and what was made of them and of the files that they name.

A reload prepares another one aside and puts it in the place of the old, in one step.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace

from services.containers.spec import SpecDefaults
from services.errors import EngineError
from services.system import HostFacts

from .settings import ConfigError, Settings
from .spec_defaults import spec_defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """All that parts read anew each time they use it."""

    settings: Settings
    defaults: SpecDefaults
    tls: ssl.SSLContext | None  # of the API's TCP listeners


class Current:
    """The one place where it stands. Written by the daemon's start and by reloads."""

    def __init__(self, in_force: InForce) -> None:
        self.in_force = in_force

    def leave_containers(self) -> None:
        """Let live-restore be on, for the end that follows."""
        settings = replace(self.in_force.settings, live_restore=True)
        self.in_force = replace(self.in_force, settings=settings)

    def settings(self) -> Settings:
        """The settings in force."""
        return self.in_force.settings

    def defaults(self) -> SpecDefaults:
        """What containers get when nobody says otherwise."""
        return self.in_force.defaults


def prepare(settings: Settings, facts: HostFacts) -> InForce:
    """Read what the settings name: certificates, the seccomp profile. Blocks; changes nothing.

    Raises:
        ConfigError: one of them cannot be used.
    """
    try:
        defaults = spec_defaults(settings, facts)
    except OSError as error:
        profile = settings.containers.seccomp_profile
        raise ConfigError(f"opening seccomp profile ({profile}) failed: {error}") from error
    except EngineError as error:
        raise ConfigError(str(error)) from error
    return InForce(settings=settings, defaults=defaults, tls=_tls(settings))


def _tls(settings: Settings) -> ssl.SSLContext | None:
    tls = settings.api.tls
    if tls is None:
        return None
    from services.api.listening.tls import TLSConfig, TLSError, server_context  # for few engines

    files = TLSConfig(cert=tls.cert_file, key=tls.key_file, ca_cert=tls.ca_file, verify=tls.verify)
    try:
        return server_context(files)
    except TLSError as error:
        raise ConfigError(str(error)) from error
