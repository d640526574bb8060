"""The fields of one --mount against its type, with dockerd's refusals.

Source: moby, volume/mounts/linux_parser.go and validate.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.containers.config import BindOptions, Mount, TmpfsOptions
from services.containers.spec.mounts import clean_path
from services.errors import InvalidParameter

PROPAGATIONS: Final = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
_TMPFS_WORDS: Final = frozenset(("exec", "noexec"))
_SIZE_SUFFIXES: Final = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))


def check_target(target: str, type_: str) -> None:
    """A destination must be absolute and not the root. Raises InvalidParameter."""
    if not target:
        raise mount_error(type_, "field Target must not be empty")
    if clean_path(target) == "/" and target.startswith(("/", ".")):
        raise mount_error(type_, "invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise mount_error(type_, f"invalid mount path: '{target}' mount path must be absolute")


def check_tmpfs_destination(destination: str) -> None:
    """A key of HostConfig.Tmpfs, by the rule of `check_target`. Raises InvalidParameter."""
    if clean_path(destination) == "/" and destination.startswith(("/", ".")):
        raise InvalidParameter("invalid specification: destination can't be '/'")
    if not destination.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{destination}' mount path must be absolute")


def check_mount(mount: Mount) -> None:
    """The fields of one --mount against its type. Raises InvalidParameter."""
    if mount.type not in ("bind", "volume", "tmpfs", "image"):
        raise mount_error(mount.type, "mount type unknown")
    check_target(mount.target, mount.type)
    extra = {
        "BindOptions": mount.bind_options is not None and mount.type != "bind",
        "VolumeOptions": mount.volume_options is not None and mount.type == "bind",
        "Source": bool(mount.source) and mount.type == "tmpfs",
    }
    for field, given in extra.items():
        if given:
            raise mount_error(mount.type, f"field {field} must not be specified")
    if not mount.source and mount.type in ("bind", "image"):
        raise mount_error(mount.type, "field Source must not be empty")
    if mount.type == "bind":
        _check_bind(mount)
    elif mount.type == "volume":
        _check_volume(mount)
    elif mount.type == "image" and mount.image_options is not None:
        _check_subpath("image", mount.image_options.subpath)
    elif mount.type == "tmpfs":
        tmpfs_data(mount.tmpfs_options, read_only=mount.read_only)


def tmpfs_data(options: TmpfsOptions | None, *, read_only: bool) -> str:
    """The comma list that tmpfs is mounted with. Raises InvalidParameter for an unknown option."""
    words = ["ro"] if read_only else []
    if options is None:
        return ",".join(words)
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if options.size_bytes:
        words.append(f"size={_size(options.size_bytes)}")
    return ",".join((*words, *_tmpfs_words(options.options)))


def _tmpfs_words(options: Sequence[Sequence[str]]) -> list[str]:
    words = []
    for option in options:
        if len(option) not in (1, 2):
            raise mount_error("tmpfs", "invalid option array length")
        if option[0] not in _TMPFS_WORDS:
            raise mount_error("tmpfs", f"invalid option: {option[0]}")
        words.append("=".join(option))
    return words


def _check_bind(mount: Mount) -> None:
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise mount_error("bind", f"invalid propagation mode: {options.propagation}")
    if not mount.source.startswith("/"):
        raise mount_error(
            "bind", f"invalid mount path: '{mount.source}' mount path must be absolute"
        )
    if options.read_only_force_recursive:
        if not mount.read_only:
            raise mount_error("bind", "ReadOnlyForceRecursive requires ReadOnly")
        if options.propagation not in ("", "rprivate"):
            raise mount_error(
                "bind", "ReadOnlyForceRecursive requires Propagation to be unspecified or rprivate"
            )
        if options.read_only_non_recursive:
            raise mount_error(
                "bind", "ReadOnlyForceRecursive and ReadOnlyNonRecursive are mutually exclusive"
            )


def _check_volume(mount: Mount) -> None:
    subpath = mount.volume_options.subpath if mount.volume_options else ""
    if subpath and not mount.source:
        raise mount_error("volume", "must not set Subpath when using anonymous volumes")
    _check_subpath("volume", subpath)
    if mount.read_only and not mount.source:
        raise mount_error("volume", "must not set ReadOnly mode when using anonymous volumes")


def _check_subpath(type_: str, subpath: str) -> None:
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise mount_error(type_, f"subpath must be a relative path within the {type_}")


def mount_error(type_: str, reason: str) -> InvalidParameter:
    """The refusal of a mount, for the caller to raise."""
    return InvalidParameter(f'invalid mount config for type "{type_}": {reason}')


def _size(size_bytes: int) -> str:
    for suffix, unit in _SIZE_SUFFIXES:
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return str(size_bytes)
