"""From what a client asks for to what the runtime is told: the OCI spec, equal to dockerd's.

Pure functions of values, but for the few named read_*, which block: call those in a thread.
"""

from services.containers.spec.build import build_spec, cgroups_path
from services.containers.spec.devices import read_host_devices
from services.containers.spec.process import build_exec_process
from services.containers.spec.resources import container_resources
from services.containers.spec.values import (
    DeviceNode,
    HostDevices,
    MountPoint,
    NamespacePaths,
    NetworkFiles,
    ResolvedUser,
    SpecDefaults,
    SpecInputs,
)

__all__ = [
    "DeviceNode",
    "HostDevices",
    "MountPoint",
    "NamespacePaths",
    "NetworkFiles",
    "ResolvedUser",
    "SpecDefaults",
    "SpecInputs",
    "build_exec_process",
    "build_spec",
    "cgroups_path",
    "container_resources",
    "read_host_devices",
]
