"""The body of a create request, with what any version of the API may say in it."""

from __future__ import annotations

from services.containers.config import ContainerConfig, HostConfig, NetworkingConfig


class CreateBody(ContainerConfig, frozen=True, kw_only=True):
    """The body of POST /containers/create: a ContainerConfig with some more members."""

    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()
    mac_address: str = ""  # of the one network, for clients below 1.52
