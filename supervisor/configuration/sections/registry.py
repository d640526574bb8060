"""What the configuration says about registries, checked.

Source: moby, daemon/config.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from services.registry.proxies import ProxySettings
from services.registry.settings import (
    CERTS_DIR,
    RegistrySettings,
    parse_insecure,
    parse_mirror,
)
from supervisor.configuration.merged import Merged
from supervisor.configuration.options import OPTIONS


def registry_settings(
    values: Merged, environment: Mapping[str, str], config_file: Path
) -> RegistrySettings:
    """The section, with the proxies of the environment where the configuration names none.

    Raises:
        ValueError: a value is not allowed.
    """
    networks, hosts = parse_insecure(values.texts("insecure-registry"))
    downloads, uploads = (
        values.number(f"max-concurrent-{what}") for what in ("downloads", "uploads")
    )
    attempts = values.number("max-download-attempts")
    if downloads < 0:
        raise ValueError(f"invalid max concurrent downloads: {downloads}")
    if uploads < 0:
        raise ValueError(f"invalid max concurrent uploads: {uploads}")
    if attempts <= 0:
        raise ValueError(f"invalid max download attempts: {attempts}")
    return RegistrySettings(
        mirrors=tuple(map(parse_mirror, values.texts("registry-mirror"))),
        insecure_networks=networks,
        insecure_hosts=hosts,
        max_downloads=downloads or cast("int", OPTIONS["max-concurrent-downloads"].default),
        max_uploads=uploads or cast("int", OPTIONS["max-concurrent-uploads"].default),
        max_attempts=attempts,
        proxies=ProxySettings(
            http_proxy=_proxy(values, environment, "http-proxy"),
            https_proxy=_proxy(values, environment, "https-proxy"),
            no_proxy=_proxy(values, environment, "no-proxy"),
        ),
        # dockerd's folder, and before it one of our own beside the configuration.
        certs_dirs=(config_file.parent / "certs.d", CERTS_DIR),
    )


def _proxy(values: Merged, environment: Mapping[str, str], flag: str) -> str:
    """What the configuration says, else the environment, in either case of letters."""
    name = flag.replace("-", "_")
    return values.text(flag) or environment.get(name.upper()) or environment.get(name) or ""
