"""The OCI `namespaces` list: which are new, which are joined by path, which are the host's."""

from __future__ import annotations

from services.containers.spec.modes import shared_container
from services.containers.spec.values import Json, SpecInputs
from services.errors import InvalidParameter


def container_namespaces(inputs: SpecInputs) -> list[Json]:
    """One entry for each namespace that is not the host's. User namespaces are the host's.

    Raises:
        InvalidParameter: another container's namespace is wanted, and its path was not given.
    """
    host = inputs.host_config
    paths = inputs.namespaces
    entries: list[Json] = [{"type": "mount"}]
    if host.network_mode != "host":
        entries.append(_namespace("network", paths.network, host.network_mode))
    if host.uts_mode != "host":
        entries.append({"type": "uts"})
    if host.pid_mode != "host":
        entries.append(_namespace("pid", paths.pid, host.pid_mode))
    if host.ipc_mode != "host":
        entries.append(_namespace("ipc", paths.ipc, host.ipc_mode))
    if host.cgroupns_mode == "private" and inputs.facts.cgroup.namespaces:
        entries.append({"type": "cgroup"})
    return entries


def _namespace(type_: str, path: str, mode: str) -> Json:
    if shared_container(mode) is not None and not path:
        raise InvalidParameter(f"no {type_} namespace to join for mode {mode}")
    return {"type": type_, "path": path} if path else {"type": type_}
