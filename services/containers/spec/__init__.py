"""From what a client asks for to what the runtime is told: the OCI spec, equal to dockerd's.

Pure functions of values, but for the few named read_*, check_bind_sources and make_bind_sources,
which block: call those in a thread.
"""

from services.containers.spec.account_files import read_account_files, read_account_files_in
from services.containers.spec.adapt import adapt_host_config, kernel_cpu_shares
from services.containers.spec.bind_sources import (
    check_bind_sources,
    check_propagation,
    make_bind_sources,
    read_mountinfo,
)
from services.containers.spec.binds import is_valid_mode, parse_bind, parse_mount, parse_mounts
from services.containers.spec.build import build_spec, cgroups_path, parent_cgroup
from services.containers.spec.devices import read_block_numbers, read_host_devices
from services.containers.spec.process import build_exec_process
from services.containers.spec.resources import container_resources
from services.containers.spec.signals import parse_signal
from services.containers.spec.users import AccountFiles, resolve_user
from services.containers.spec.validate import check_restart_policy, validate
from services.containers.spec.validate_config import check_config, normalized_working_dir
from services.containers.spec.validate_resources import check_resources
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
    "AccountFiles",
    "DeviceNode",
    "HostDevices",
    "MountPoint",
    "NamespacePaths",
    "NetworkFiles",
    "ResolvedUser",
    "SpecDefaults",
    "SpecInputs",
    "adapt_host_config",
    "build_exec_process",
    "build_spec",
    "cgroups_path",
    "check_bind_sources",
    "check_config",
    "check_propagation",
    "check_resources",
    "check_restart_policy",
    "container_resources",
    "is_valid_mode",
    "kernel_cpu_shares",
    "make_bind_sources",
    "normalized_working_dir",
    "parent_cgroup",
    "parse_bind",
    "parse_mount",
    "parse_mounts",
    "parse_signal",
    "read_account_files",
    "read_account_files_in",
    "read_block_numbers",
    "read_host_devices",
    "read_mountinfo",
    "resolve_user",
    "validate",
]
