"""What the configuration says about containers, checked.

Source: moby, daemon/config and daemon/daemon_unix.go, whose sentences these are.
"""

from __future__ import annotations

from typing import Final, Literal, cast

from services.containers.logs.options import NONE, check_log_config, parse_file_options
from services.errors import EngineError
from supervisor.configuration.merged import Merged
from supervisor.configuration.settings import (
    ContainerDefaults,
)
from supervisor.configuration.values import Runtime, Ulimit

CDI_DIRECTORIES: Final = ("/etc/cdi", "/var/run/cdi")  # what CDI's specification names
MIN_LOG_BUDGET_BYTES: Final = 1 << 20
_OFF: Final = ("false", "0")


def _cdi_directories(values: Merged) -> tuple[str, ...]:
    """Where CDI's files are; none for --cdi-spec-dir="" and for --feature cdi=false.

    Source: moby, daemon/command (initializing the CDI driver).
    """
    if any(name == "cdi" and value.lower() in _OFF for name, value in values.pairs("feature")):
        return ()
    directories = values.texts("cdi-spec-dir") or CDI_DIRECTORIES
    return () if directories == ("",) else directories


def _check_log(driver: str, options: dict[str, str]) -> None:
    try:
        check_log_config(driver, options)
        if driver != NONE:
            parse_file_options(driver, options)
    except EngineError as error:
        raise ValueError(f"failed to set log opts: {error}") from error


def container_defaults(values: Merged, runtimes: tuple[Runtime, ...]) -> ContainerDefaults:
    """The section, with these runtimes besides runc.

    Raises:
        ValueError: a value is not allowed, or contradicts another.
    """
    names = [runtime.name for runtime in runtimes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"runtime '{name}' was already defined")
    default_runtime = values.text("default-runtime")
    if default_runtime not in (*names, "runc", "io.containerd.runc.v2"):
        raise ValueError(f"specified default runtime '{default_runtime}' does not exist")
    if values.text("storage-driver") not in ("", "overlayfs"):
        raise ValueError(
            f"--storage-driver={values.text('storage-driver')}: "
            "the only storage driver supported yet is overlayfs"
        )
    _check_log(values.text("log-driver"), dict(values.pairs("log-opt")))
    driver, parent = _cgroup_driver(values.texts("exec-opt")), values.text("cgroup-parent")
    if driver == "systemd" and parent and not _is_slice(parent):
        raise ValueError(
            'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        )
    rt_period, rt_runtime = values.number("cpu-rt-period"), values.number("cpu-rt-runtime")
    _check_realtime(rt_period, rt_runtime)
    ulimits = {item.name: item for item in cast("tuple[Ulimit, ...]", values.raw("default-ulimit"))}
    return ContainerDefaults(
        shm_size_bytes=cast("int", values.raw("default-shm-size")),
        ulimits=tuple(ulimits.values()),
        cgroupns_mode=_cgroupns_mode(values.text("default-cgroupns-mode")),
        ipc_mode=_ipc_mode(values.text("default-ipc-mode")),
        stop_timeout_s=values.number("default-stop-timeout"),
        cgroup_parent=parent,
        cgroup_driver=driver,
        cpu_rt_period_us=rt_period,
        cpu_rt_runtime_us=rt_runtime,
        init=values.switch("init"),
        init_path=values.text("init-path"),
        no_new_privileges=values.switch("no-new-privileges"),
        seccomp_profile=values.text("seccomp-profile") or "builtin",
        log_budget_bytes=_log_budget(cast("int", values.raw("log-budget"))),
        log_driver=values.text("log-driver"),
        log_opts=values.pairs("log-opt"),
        default_runtime=default_runtime,
        runtimes=runtimes,
        dns=values.texts("dns"),
        dns_options=values.texts("dns-opt"),
        dns_search=values.texts("dns-search"),
        cdi_directories=_cdi_directories(values),
    )


def _log_budget(size_bytes: int) -> int:
    if 0 != size_bytes < MIN_LOG_BUDGET_BYTES:
        raise ValueError(
            f"invalid log-budget: {size_bytes}: it must be 0 (no bound) or at least 1m"
        )
    return size_bytes


def _is_slice(name: str) -> bool:
    return name.endswith(".slice") and len(name) > len(".slice") and "/" not in name


def _check_realtime(period_us: int, runtime_us: int) -> None:
    for name, value in (("cpu-rt-period", period_us), ("cpu-rt-runtime", runtime_us)):
        if value < 0:
            raise ValueError(f"invalid {name}: {value}: it must not be negative")
    if period_us and runtime_us > period_us:
        raise ValueError("cpu-rt-runtime cannot be higher than cpu-rt-period")


def _cgroup_driver(options: tuple[str, ...]) -> Literal["", "cgroupfs", "systemd"]:
    driver = ""
    for option in options:
        name, _, value = (part.strip() for part in option.partition("="))
        if not name or not value:
            raise ValueError(f"invalid exec-opt ({option}): must be formatted 'opt=value'")
        if name.lower() == "isolation":
            raise ValueError(
                f"invalid exec-opt ({option}): option 'isolation' is only supported on windows"
            )
        if name.lower() != "native.cgroupdriver":
            raise ValueError(f"invalid exec-opt ({option}): unknown option: '{name.lower()}'")
        driver = value
    if driver not in ("", "cgroupfs", "systemd"):
        raise ValueError(f"native.cgroupdriver option {driver} not supported")
    return cast("Literal['', 'cgroupfs', 'systemd']", driver)


def _cgroupns_mode(mode: str) -> Literal["", "host", "private"]:
    if mode not in ("", "host", "private"):
        raise ValueError(f'invalid default cgroup namespace ({mode}): use "host" or "private"')
    return cast("Literal['', 'host', 'private']", mode)


def _ipc_mode(mode: str) -> Literal["private", "shareable"]:
    hint = 'use "shareable" or "private"'
    if mode in ("host", "none") or mode.startswith("container:"):
        raise ValueError(f'IPC mode "{mode}" is not supported as default value; {hint}')
    if mode not in ("", "private", "shareable"):
        raise ValueError(f"default IPC mode setting ({mode}) is invalid; {hint}")
    return cast("Literal['private', 'shareable']", mode or "private")
