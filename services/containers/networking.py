"""Which networks a create request asks for."""

from __future__ import annotations

from services.containers.config import EndpointSettings, NetworkingConfig
from services.containers.spec.modes import shared_container
from services.errors import InvalidParameter, NotSupported


def check_networking(networking: NetworkingConfig, mode: str) -> dict[str, EndpointSettings]:
    """The endpoints that were asked for, by network name; at least that of the network mode.

    None for a container in the network of another one, which has no place of its own there.

    Raises:
        InvalidParameter: several networks, which a container can have only after its creation.
        NotSupported: links within a network.
    """
    if shared_container(mode) is not None:
        return {}
    asked = networking.endpoints_config
    if len(asked) > 1:
        names = ", ".join(sorted(asked))
        raise InvalidParameter(f"Container cannot be created with network endpoints: {names}")
    if any(settings is not None and settings.links for settings in asked.values()):
        raise NotSupported("links within a user-defined network are not supported yet")
    endpoints = {name: settings or EndpointSettings() for name, settings in asked.items()}
    if "default" in endpoints:  # what clients call the network that the mode stands for
        endpoints = {mode: endpoints["default"]}
    return endpoints or {mode: EndpointSettings()}
