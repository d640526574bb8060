"""Registries: images pulled from them and pushed to them, logins, searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .credentials import Credentials as Credentials
    from .proxies import ProxySettings as ProxySettings
    from .registry import Registry as Registry
    from .requests import Distribution as Distribution
    from .requests import Login as Login
    from .requests import PullRequest as PullRequest
    from .requests import PushRequest as PushRequest
    from .requests import SearchRequest as SearchRequest
    from .requests import SearchResult as SearchResult
    from .settings import RegistrySettings as RegistrySettings

__getattr__ = lazily.exports(
    __name__,
    {
        "credentials": "Credentials",
        "proxies": "ProxySettings",
        "registry": "Registry",
        "requests": "Distribution Login PullRequest PushRequest SearchRequest SearchResult",
        "settings": "RegistrySettings",
    },
)
