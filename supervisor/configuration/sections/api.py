"""What the configuration says about the API: where it is served, to whom, and with which TLS.

Source: moby, daemon/command (TLS).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from services.api.listening.hosts import parse_host
from supervisor.configuration.merged import Merged
from supervisor.configuration.settings import (
    AccessSettings,
    ApiSettings,
    TlsSettings,
)

if TYPE_CHECKING:
    from services.api.access.scopes import ScopedSocket


def api_settings(values: Merged, environment: Mapping[str, str]) -> ApiSettings:
    """The section. Raises ValueError for an address that is none."""
    tls = _tls(values, environment)
    hosts = [parse_host(text, tls=tls is not None) for text in values.texts("host") or ("",)]
    return ApiSettings(
        hosts=tuple(dict.fromkeys(hosts)),  # the same one twice could not be bound twice
        group=values.text("group"),
        group_given=values.is_given("group"),
        tls=tls,
    )


def access_settings(values: Merged) -> AccessSettings:
    """The section. Raises ValueError for a plugin or a scope that cannot be."""
    from services.plugins.discovery import check_plugins

    plugins = tuple(dict.fromkeys(values.texts("authorization-plugin")))
    check_plugins(plugins)
    audit_log = values.text("audit-log")
    return AccessSettings(
        authorization_plugins=plugins,
        scoped_sockets=_scoped_sockets(values.texts("scoped-socket")),
        audit_log=Path(audit_log).absolute() if audit_log else None,
    )


def _scoped_sockets(texts: tuple[str, ...]) -> tuple[ScopedSocket, ...]:
    if not texts:
        return ()
    # Imported when asked for: a table of all operations, and patterns made from it.
    from services.api.access.scopes import parse_scoped_socket

    found = tuple(map(parse_scoped_socket, texts))
    paths = [one.path for one in found]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"scoped-sockets: {path} is there twice")
    return found


def _tls(values: Merged, environment: Mapping[str, str]) -> TlsSettings | None:
    """TLS is on when asked for or when --tlsverify was said at all, be it with false.

    Verification is on with it unless --tlsverify=false says otherwise.
    """
    verify_asked = bool(environment.get("DOCKER_TLS_VERIFY"))
    verify_said = values.is_given("tlsverify")
    if not (values.switch("tls") or verify_said or verify_asked):
        return None
    home = Path(environment.get("HOME", "/root"))
    certificates = Path(
        environment.get("DOCKER_CERT_PATH") or environment.get("DOCKER_CONFIG") or home / ".docker"
    )
    return TlsSettings(
        verify=values.switch("tlsverify") if verify_said else True,
        ca_file=Path(values.text("tlscacert") or certificates / "ca.pem"),
        cert_file=Path(values.text("tlscert") or certificates / "cert.pem"),
        key_file=Path(values.text("tlskey") or certificates / "key.pem"),
    )
