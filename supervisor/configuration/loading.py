"""Flags and daemon.json, merged and checked whole, become Settings.

Source: moby, daemon/config (merging, conflicts, sentences) and daemon/command (TLS).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from .features import EITHER, ON
from .file import read_config_file
from .merged import Merged, refuse_conflicts
from .option import Value
from .options import OPTIONS
from .sections.api import access_settings, api_settings
from .sections.cluster import cluster_settings
from .sections.containers import container_defaults
from .sections.daemon import (
    containerd_settings,
    log_settings,
    metrics_address,
    observer_host,
)
from .sections.networks import network_defaults
from .sections.registry import registry_settings
from .settings import ConfigError, Settings
from .values import Runtime


def load(given: Mapping[str, Value], environment: Mapping[str, str]) -> Settings:
    """The settings of the flags given (by flag name) and of the configuration file.

    Reads the file, in the calling thread. A file that was not asked for may be missing.
    `environment` is only asked for what dockerd asks it: where TLS files are by default.

    Raises:
        ConfigError: the file cannot be used, or a value cannot, wherever it came from.
    """
    path = Path(str(given.get("config-file", OPTIONS["config-file"].default)))
    try:
        from_file = read_config_file(path)
        refuse_conflicts(given, from_file)
    except FileNotFoundError as error:
        if "config-file" in given:
            raise _unusable(path, f"open {path}: no such file or directory") from error
        from_file = {}
    except OSError as error:
        raise _unusable(path, f"open {path}: {error.strerror}") from error
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    try:
        return build(given, from_file, environment, config_file=path)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"unable to configure the Docker daemon with file {path}: {reason}")


def build(
    given: Mapping[str, Value],
    from_file: Mapping[str, Value],
    environment: Mapping[str, str],
    *,
    config_file: Path,
) -> Settings:
    """Settings of values that are well-formed one by one.

    Raises:
        ValueError: a value is not allowed, cannot take effect yet, or contradicts another.
    """
    values = Merged(given, from_file)
    _refuse_unsupported(values)
    runtimes = tuple(
        runtime
        for source in (from_file, given)  # the one option that both places add to
        for runtime in cast("tuple[Runtime, ...]", source.get("add-runtime", ()))
    )
    pidfile = values.text("pidfile")
    return Settings(
        config_file=config_file,
        data_root=_absolute(values, "data-root"),
        exec_root=_absolute(values, "exec-root"),
        pidfile=Path(pidfile).absolute() if pidfile else None,
        shutdown_timeout_s=values.number("shutdown-timeout"),
        live_restore=values.switch("live-restore"),
        labels=_labels(values.texts("label")),
        experimental=values.switch("experimental"),
        features=_features(values.pairs("feature")),
        metrics_address=metrics_address(values),
        observer=observer_host(values),
        log=log_settings(values),
        api=api_settings(values, environment),
        access=access_settings(values),
        containerd=containerd_settings(values),
        containers=container_defaults(values, runtimes),
        network=network_defaults(values),
        cluster=cluster_settings(values),
        registry=registry_settings(values, environment, config_file),
    )


def _refuse_unsupported(values: Merged) -> None:
    for flag, option in OPTIONS.items():
        if option.refused and values.raw(flag) != option.default:
            raise ValueError(f"--{flag}: {option.refused}")


def _absolute(values: Merged, flag: str) -> Path:
    if not values.text(flag):
        raise ValueError(f"--{flag}: an empty path is not allowed")
    return Path(values.text(flag)).absolute()


def _features(features: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """containerd's image store is the only one, and always on; the others may be off."""
    for name, value in features:
        known = {"containerd-snapshotter": ON, "buildkit": EITHER, "cdi": EITHER}.get(name, ())
        if value.lower() not in known:
            raise ValueError(f"feature {name}={value} is not supported")
    return features


def _labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels without repetition; two values for one key are an error."""
    by_key: dict[str, str] = {}
    for label in labels:
        key, _, value = label.partition("=")
        if by_key.setdefault(key, value) != value:
            raise ValueError(f"conflict labels for {key}={value} and {key}={by_key[key]}")
    return tuple(f"{key}={value}" for key, value in by_key.items())
