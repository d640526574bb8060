"""What the configuration says about swarm mode, checked.

Source: moby, daemon/config; swarmkit, api/genericresource.
"""

from __future__ import annotations

import importlib

from services.errors import InvalidParameter
from supervisor.configuration.merged import Merged
from supervisor.configuration.settings import ClusterSettings


def cluster_settings(values: Merged) -> ClusterSettings:
    """The section.

    Raises:
        ValueError: a resource is not "kind=value".
    """
    resources = values.texts("node-generic-resource")
    if resources:
        # Only then: an engine that is in no swarm loads nothing of it.
        description = importlib.import_module("services.cluster.agent.description")
        try:
            description.parse_generic_resources(resources)
        except InvalidParameter as error:
            raise ValueError(f"--node-generic-resource: {error}") from error
    return ClusterSettings(
        advertise_addr=values.text("swarm-default-advertise-addr"), generic_resources=resources
    )
