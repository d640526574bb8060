"""Which networks a create request asks for."""

from __future__ import annotations

from services.containers.config import EndpointSettings, NetworkingConfig
from services.errors import InvalidParameter


def check_networking(networking: NetworkingConfig, mode: str) -> dict[str, EndpointSettings]:
    """The endpoints that were asked for, by network name; at least that of the network mode.

    Raises:
        InvalidParameter: several networks, which a container can have only after its creation.
    """
    asked = networking.endpoints_config
    if len(asked) > 1:
        names = ", ".join(sorted(asked))
        raise InvalidParameter(f"Container cannot be created with network endpoints: {names}")
    endpoints = {name: settings or EndpointSettings() for name, settings in asked.items()}
    if "default" in endpoints:  # what clients call the network that the mode stands for
        endpoints = {mode: endpoints["default"]}
    return endpoints or {mode: EndpointSettings()}
