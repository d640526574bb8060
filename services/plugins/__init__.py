"""Plugins: programs beside the engine that speak Docker's plugin protocol."""

from __future__ import annotations

from services.plugins.authorization import Authorizer, AuthRequest, AuthResponse
from services.plugins.discovery import PluginAddress, PluginDirectories

__all__ = ["AuthRequest", "AuthResponse", "Authorizer", "PluginAddress", "PluginDirectories"]
