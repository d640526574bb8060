"""-v texts and --mount objects to MountPoints. Pure, but for `check_bind_sources`.

Source: moby, volume/mounts/linux_parser.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from services.containers.config import BindOptions, HostConfig, Mount, TmpfsOptions
from services.containers.spec.mounts import clean_path
from services.containers.spec.values import DEFAULT_PROPAGATION, MountPoint
from services.errors import InvalidParameter

_ACCESS: Final = frozenset(("rw", "ro"))
_LABELS: Final = frozenset(("z", "Z"))
PROPAGATIONS: Final = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
_COPY: Final = frozenset(("nocopy",))
_CONSISTENCY: Final = frozenset(("consistent", "cached", "delegated", "default"))
_MODE_GROUPS: Final = (_ACCESS, _LABELS, PROPAGATIONS, _COPY, _CONSISTENCY)
_TMPFS_WORDS: Final = frozenset(("exec", "noexec"))
_SIZE_SUFFIXES: Final = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))


def parse_bind(text: str, *, volume_driver: str = "", data_root: str = "") -> MountPoint:
    """One -v: "destination", "source:destination" or "source:destination:mode".

    A source that is no absolute path names a volume; none at all is an anonymous one. `data_root`
    is the engine's own directory: binds across it must not hold its mounts back.

    Raises:
        InvalidParameter: the text has another form, or names a mode that is none.
    """
    parts = text.split(":", 3)
    mode = parts[2] if len(parts) == 3 else ""
    if not parts[0] or len(parts) == 4 or (len(parts) == 2 and is_valid_mode(parts[1])):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    if not is_valid_mode(mode):
        raise InvalidParameter(f"invalid mode: {mode}")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    words = mode.split(",") if mode else []
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    is_bind = source.startswith("/")
    if propagation and not is_bind:
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount config for type "
            '"volume": field BindOptions must not be specified'
        )
    if "nocopy" in words and is_bind:
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount config for type "
            '"bind": field VolumeOptions must not be specified'
        )
    try:
        check_target(target, "bind" if is_bind else "volume")
        own_rule = _propagation(source, propagation, data_root) if is_bind else ""
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid volume specification: '{text}': {error}") from error
    return MountPoint(
        type="bind" if is_bind else "volume",
        destination=clean_path(target),
        source=clean_path(source) if is_bind else "",
        name="" if is_bind else source,
        driver="" if is_bind else volume_driver,
        rw="ro" not in words,
        mode=mode,
        propagation=own_rule,
        copy_data=not is_bind and "nocopy" not in words,
        create_source=is_bind,
    )


def parse_mount(mount: Mount, *, data_root: str = "") -> MountPoint:
    """One --mount. Whether a bind's source exists is `check_bind_sources`'s to say.

    Raises:
        InvalidParameter: a field is missing, or does not go with the type.
    """
    check_mount(mount)
    match mount.type:
        case "bind":
            return _bind_point(mount, data_root)
        case "tmpfs":
            return MountPoint(
                type="tmpfs",
                destination=clean_path(mount.target),
                rw=not mount.read_only,
                tmpfs_data=tmpfs_data(mount.tmpfs_options, read_only=mount.read_only),
                spec=mount,
            )
        case "image":
            return MountPoint(
                type="image",
                destination=clean_path(mount.target),
                source=mount.source,
                rw=not mount.read_only,
                subpath=mount.image_options.subpath if mount.image_options else "",
                spec=mount,
            )
        case _:
            options = mount.volume_options
            driver = options.driver_config if options else None
            return MountPoint(
                type="volume",
                destination=clean_path(mount.target),
                name=mount.source,
                driver=driver.name if driver else "",
                rw=not mount.read_only,
                copy_data=not (options and options.no_copy),
                subpath=options.subpath if options else "",
                spec=mount,
            )


def parse_mounts(host: HostConfig, *, data_root: str = "") -> tuple[MountPoint, ...]:
    """All of --volume and --mount, sorted so that parents come first.

    Raises:
        InvalidParameter: one of them is wrong, or two have the same destination.
    """
    points: dict[str, MountPoint] = {}
    from_binds = (
        parse_bind(text, volume_driver=host.volume_driver, data_root=data_root)
        for text in host.binds or ()
    )
    mounts = () if host.mounts is msgspec.UNSET else host.mounts or ()
    from_mounts = (parse_mount(mount, data_root=data_root) for mount in mounts)
    tmpfs = () if host.tmpfs is msgspec.UNSET else host.tmpfs or ()
    taken = {clean_path(destination) for destination in tmpfs}
    for point in (*from_binds, *from_mounts):
        if point.destination in points or point.destination in taken:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        points[point.destination] = point
    return tuple(sorted(points.values(), key=lambda point: point.destination.count("/")))


def check_bind_sources(points: Iterable[MountPoint]) -> None:
    """Every bind by --mount must have a source already; -v makes it. Blocks.

    Raises:
        InvalidParameter: a source that is missing.
    """
    for point in points:
        if point.type == "bind" and not point.create_source and not Path(point.source).exists():
            raise _mount_error("bind", f"bind source path does not exist: {point.source}")


def make_bind_sources(points: Iterable[MountPoint]) -> None:
    """Make the directories that -v asks for and that are missing, as root's, mode 755. Blocks.

    Raises:
        InvalidParameter: a directory cannot be made there.
    """
    for point in points:
        if point.type == "bind" and point.create_source and not Path(point.source).exists():
            try:
                Path(point.source).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise InvalidParameter(
                    f"error while creating mount source path '{point.source}': "
                    f"mkdir {point.source}: {reason}"
                ) from error


def is_valid_mode(mode: str) -> bool:
    """Whether -v's third part is words of ours, at most one of each kind."""
    if not mode:
        return True
    seen = [group for word in mode.split(",") for group in _MODE_GROUPS if word in group]
    return len(seen) == len(mode.split(",")) == len(set(map(id, seen)))


def check_target(target: str, type_: str) -> None:
    """A destination must be absolute and not the root. Raises InvalidParameter."""
    if not target:
        raise _mount_error(type_, "field Target must not be empty")
    if clean_path(target) == "/" and target.startswith(("/", ".")):
        raise _mount_error(type_, "invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise _mount_error(type_, f"invalid mount path: '{target}' mount path must be absolute")


def check_tmpfs_destination(destination: str) -> None:
    """A key of HostConfig.Tmpfs, by the rule of `check_target`. Raises InvalidParameter."""
    if clean_path(destination) == "/" and destination.startswith(("/", ".")):
        raise InvalidParameter("invalid specification: destination can't be '/'")
    if not destination.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{destination}' mount path must be absolute")


def check_mount(mount: Mount) -> None:
    """The fields of one --mount against its type. Raises InvalidParameter."""
    if mount.type not in ("bind", "volume", "tmpfs", "image"):
        raise _mount_error(mount.type, "mount type unknown")
    check_target(mount.target, mount.type)
    extra = {
        "BindOptions": mount.bind_options is not None and mount.type != "bind",
        "VolumeOptions": mount.volume_options is not None and mount.type == "bind",
        "Source": bool(mount.source) and mount.type == "tmpfs",
    }
    for field, given in extra.items():
        if given:
            raise _mount_error(mount.type, f"field {field} must not be specified")
    if not mount.source and mount.type in ("bind", "image"):
        raise _mount_error(mount.type, "field Source must not be empty")
    if mount.type == "bind":
        _check_bind(mount)
    elif mount.type == "volume":
        _check_volume(mount)
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
            raise _mount_error("tmpfs", "invalid option array length")
        if option[0] not in _TMPFS_WORDS:
            raise _mount_error("tmpfs", f"invalid option: {option[0]}")
        words.append("=".join(option))
    return words


def _check_bind(mount: Mount) -> None:
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise _mount_error("bind", f"invalid propagation mode: {options.propagation}")
    if not mount.source.startswith("/"):
        raise _mount_error(
            "bind", f"invalid mount path: '{mount.source}' mount path must be absolute"
        )
    if options.read_only_force_recursive:
        if not mount.read_only:
            raise _mount_error("bind", "ReadOnlyForceRecursive requires ReadOnly")
        if options.propagation not in ("", "rprivate"):
            raise _mount_error(
                "bind", "ReadOnlyForceRecursive requires Propagation to be unspecified or rprivate"
            )
        if options.read_only_non_recursive:
            raise _mount_error(
                "bind", "ReadOnlyForceRecursive and ReadOnlyNonRecursive are mutually exclusive"
            )


def _check_volume(mount: Mount) -> None:
    subpath = mount.volume_options.subpath if mount.volume_options else ""
    if subpath and not mount.source:
        raise _mount_error("volume", "must not set Subpath when using anonymous volumes")
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise _mount_error("volume", "subpath must be a relative path within the volume")
    if mount.read_only and not mount.source:
        raise _mount_error("volume", "must not set ReadOnly mode when using anonymous volumes")


def _bind_point(mount: Mount, data_root: str) -> MountPoint:
    options = mount.bind_options or BindOptions()
    return MountPoint(
        type="bind",
        destination=clean_path(mount.target),
        source=clean_path(mount.source),
        rw=not mount.read_only,
        propagation=_propagation(mount.source, options.propagation, data_root),
        create_source=options.create_mountpoint,
        recursive=not options.non_recursive,
        read_only_recursive=True if options.read_only_force_recursive else None,
        spec=mount,
    )


def _propagation(source: str, asked: str, data_root: str) -> str:
    """Binds that reach the data-root are slaves, or they would pin the engine's mounts for ever."""
    if not data_root or not _overlaps(clean_path(source), data_root):
        return asked or DEFAULT_PROPAGATION
    if asked in ("", "slave", "rslave", "shared", "rshared"):
        return asked or "rslave"
    raise _mount_error(
        "bind",
        'must use either propagation mode "rslave" or "rshared" when mount source is within the '
        f'daemon root, daemon root: "{data_root}", bind mount source: "{source}", '
        f'propagation: "{asked}"',
    )


def _overlaps(one: str, other: str) -> bool:
    shorter, longer = sorted((one.rstrip("/") + "/", other.rstrip("/") + "/"), key=len)
    return longer.startswith(shorter)


def _size(size_bytes: int) -> str:
    for suffix, unit in _SIZE_SUFFIXES:
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return str(size_bytes)


def _mount_error(type_: str, reason: str) -> InvalidParameter:
    return InvalidParameter(f'invalid mount config for type "{type_}": {reason}')
