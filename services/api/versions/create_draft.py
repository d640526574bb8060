"""A create request on its way through the changes of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from services.api.versions.create_body import CreateBody
from services.containers.config import EndpointSettings, Mount, NetworkingConfig


class Draft(NamedTuple):
    """A request on its way through the rows."""

    body: CreateBody
    mode: str  # the network that the container's mode stands for: "bridge", "host", ...
    cgroup_v1: bool
    warnings: tuple[str, ...] = ()
    read_only_below: bool = True
    """Whether a read-only bind is so with the mounts below it, if it does not say."""

    def with_host(self, **fields: Any) -> Draft:
        """HostConfig with these fields."""
        host = msgspec.structs.replace(self.body.host_config, **fields)
        return self._replace(body=msgspec.structs.replace(self.body, host_config=host))

    def with_mounts(self, change: Callable[[Mount], Mount]) -> Draft:
        """Each --mount changed."""
        mounts = self.mounts
        return self.with_host(mounts=[change(mount) for mount in mounts]) if mounts else self

    def with_endpoints(self, endpoints: Mapping[str, EndpointSettings | None]) -> Draft:
        """Other settings for the networks."""
        networking = NetworkingConfig(endpoints_config=dict(endpoints))
        return self._replace(body=msgspec.structs.replace(self.body, networking_config=networking))

    def warned(self, text: str) -> Draft:
        """With one more warning."""
        return self._replace(warnings=(*self.warnings, text))

    @property
    def mounts(self) -> list[Mount]:
        """Those of --mount."""
        mounts = self.body.host_config.mounts
        return [] if mounts is msgspec.UNSET else mounts or []

    @property
    def endpoints(self) -> dict[str, EndpointSettings | None]:
        """The networks' settings, by name."""
        return self.body.networking_config.endpoints_config
