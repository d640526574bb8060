"""Plugins: programs beside the engine that speak Docker's plugin protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.plugins.authorization import Authorizer as Authorizer
    from services.plugins.authorization import AuthRequest as AuthRequest
    from services.plugins.authorization import AuthResponse as AuthResponse
    from services.plugins.discovery import PluginAddress as PluginAddress
    from services.plugins.discovery import PluginDirectories as PluginDirectories

__getattr__ = lazily.exports(
    __name__,
    {
        "authorization": "AuthRequest AuthResponse Authorizer",
        "discovery": "PluginAddress PluginDirectories",
    },
)
