"""From what a client asks for to what the runtime is told: the OCI spec, equal to dockerd's.

Pure functions of values, but for the few named read_*, check_bind_sources and make_bind_sources,
which block: call those in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .account_files import read_account_files as read_account_files
    from .account_files import read_account_files_in as read_account_files_in
    from .adapt import adapt_host_config as adapt_host_config
    from .adapt import kernel_cpu_shares as kernel_cpu_shares
    from .bind_sources import check_bind_sources as check_bind_sources
    from .bind_sources import check_propagation as check_propagation
    from .bind_sources import make_bind_sources as make_bind_sources
    from .binds import is_valid_mode as is_valid_mode
    from .binds import parse_bind as parse_bind
    from .binds import parse_mount as parse_mount
    from .binds import parse_mounts as parse_mounts
    from .build import build_spec as build_spec
    from .build import cgroups_path as cgroups_path
    from .build import parent_cgroup as parent_cgroup
    from .devices import read_block_numbers as read_block_numbers
    from .devices import read_host_devices as read_host_devices
    from .mounts import clean_path as clean_path
    from .process import build_exec_process as build_exec_process
    from .resources import container_resources as container_resources
    from .signals import parse_signal as parse_signal
    from .users import AccountFiles as AccountFiles
    from .users import resolve_user as resolve_user
    from .validate_config import check_config as check_config
    from .validate_config import normalized_working_dir as normalized_working_dir
    from .validate_resources import check_resources as check_resources
    from .validation import check_restart_policy as check_restart_policy
    from .validation import validate as validate
    from .values import DeviceNode as DeviceNode
    from .values import HostDevices as HostDevices
    from .values import MountPoint as MountPoint
    from .values import NamespacePaths as NamespacePaths
    from .values import NetworkFiles as NetworkFiles
    from .values import ResolvedUser as ResolvedUser
    from .values import SpecDefaults as SpecDefaults
    from .values import SpecInputs as SpecInputs

__getattr__ = lazily.exports(
    __name__,
    {
        "account_files": "read_account_files read_account_files_in",
        "adapt": "adapt_host_config kernel_cpu_shares",
        "bind_sources": "check_bind_sources check_propagation make_bind_sources",
        "binds": "is_valid_mode parse_bind parse_mount parse_mounts",
        "build": "build_spec cgroups_path parent_cgroup",
        "devices": "read_block_numbers read_host_devices",
        "mounts": "clean_path",
        "process": "build_exec_process",
        "resources": "container_resources",
        "signals": "parse_signal",
        "users": "AccountFiles resolve_user",
        "validation": "check_restart_policy validate",
        "validate_config": "check_config normalized_working_dir",
        "validate_resources": "check_resources",
        "values": "DeviceNode HostDevices MountPoint NamespacePaths NetworkFiles ResolvedUser "
        "SpecDefaults SpecInputs",
    },
)
