"""-v texts and --mount objects to MountPoints. Pure.

Source: moby, volume/mounts/linux_parser.go.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.containers.config import BindOptions, HostConfig, Mount
from services.containers.spec.mount_checks import (
    PROPAGATIONS,
    check_mount,
    check_target,
    mount_error,
    tmpfs_data,
)
from services.containers.spec.mounts import clean_path
from services.containers.spec.values import DEFAULT_PROPAGATION, MountPoint
from services.errors import InvalidParameter

_ACCESS: Final = frozenset(("rw", "ro"))
_LABELS: Final = frozenset(("z", "Z"))
_COPY: Final = frozenset(("nocopy",))
_CONSISTENCY: Final = frozenset(("consistent", "cached", "delegated", "default"))
_MODE_GROUPS: Final = (_ACCESS, _LABELS, PROPAGATIONS, _COPY, _CONSISTENCY)


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


def wants_label(text: str) -> bool:
    """Whether a -v asks for an SELinux label."""
    return any(not _LABELS.isdisjoint(mode.split(",")) for mode in text.split(":")[2:3])


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


def is_valid_mode(mode: str) -> bool:
    """Whether -v's third part is words of ours, at most one of each kind."""
    if not mode:
        return True
    seen = [group for word in mode.split(",") for group in _MODE_GROUPS if word in group]
    return len(seen) == len(mode.split(",")) == len(set(map(id, seen)))


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
        read_only_recursive=_recursion(options),
        spec=mount,
    )


def _recursion(options: BindOptions) -> bool | None:
    if options.read_only_force_recursive:
        return True
    return False if options.read_only_non_recursive else None


def _propagation(source: str, asked: str, data_root: str) -> str:
    """Binds that reach the data-root are slaves, or they would pin the engine's mounts for ever."""
    if not data_root or not _overlaps(clean_path(source), data_root):
        return asked or DEFAULT_PROPAGATION
    if asked in ("", "slave", "rslave", "shared", "rshared"):
        return asked or "rslave"
    raise mount_error(
        "bind",
        'must use either propagation mode "rslave" or "rshared" when mount source is within the '
        f'daemon root, daemon root: "{data_root}", bind mount source: "{source}", '
        f'propagation: "{asked}"',
    )


def _overlaps(one: str, other: str) -> bool:
    shorter, longer = sorted((one.rstrip("/") + "/", other.rstrip("/") + "/"), key=len)
    return longer.startswith(shorter)
