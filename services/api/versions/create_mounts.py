"""What a create request of an older API says of mounts, as it would be said today."""

from __future__ import annotations

import json

import msgspec

from services.api.versions.create_draft import Draft
from services.containers.config import Mount
from services.errors import InvalidParameter


def recursive_binds(draft: Draft) -> Draft:
    """Binds came with what is mounted below them."""
    return draft.with_mounts(lambda mount: _with_bind_options(mount, non_recursive=False))


def no_create_mountpoint(draft: Draft) -> Draft:
    """Sources that are missing were not made for --mount."""
    return draft.with_mounts(lambda mount: _with_bind_options(mount, create_mountpoint=False))


def foreign_options_dropped(draft: Draft) -> Draft:
    """Options of another type of mount were passed over."""

    def change(mount: Mount) -> Mount:
        fields: dict[str, None] = {}
        if mount.type != "volume":
            fields["volume_options"] = None
        if mount.type != "tmpfs":
            fields["tmpfs_options"] = None
        return msgspec.structs.replace(mount, **fields)

    return draft.with_mounts(change)


def foreign_options_refused(draft: Draft) -> Draft:
    """Raises InvalidParameter for another type's options."""
    for mount in draft.mounts:
        for name, options, type_ in (
            ("VolumeOptions", mount.volume_options, "volume"),
            ("BindOptions", mount.bind_options, "bind"),
            ("TmpfsOptions", mount.tmpfs_options, "tmpfs"),
        ):
            if options is not None and mount.type != type_:
                shown = json.dumps(mount.type)
                raise InvalidParameter(f"{name} must not be specified on mount type {shown}")
    return draft


def read_only_without_below(draft: Draft) -> Draft:
    """What is mounted below a read-only bind could be written to."""
    for mount in draft.mounts:
        options = mount.bind_options
        if mount.type == "bind" and options and options.read_only_force_recursive:
            raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return draft._replace(read_only_below=False)


def no_volume_subpath(draft: Draft) -> Draft:
    """Raises InvalidParameter for a folder of a volume."""
    for mount in draft.mounts:
        if mount.volume_options and mount.volume_options.subpath:
            raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")
    return draft


def no_image_mounts(draft: Draft) -> Draft:
    """Raises InvalidParameter for an image."""
    if any(mount.type == "image" for mount in draft.mounts):
        raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')
    return draft


def volume_driver_warning(draft: Draft) -> Draft:
    """It was the CLI's before 1.48."""
    if not draft.body.host_config.volume_driver:
        return draft
    for mount in draft.mounts:
        driver = mount.volume_options.driver_config if mount.volume_options else None
        if mount.type == "volume" and not (driver and driver.name):
            return draft.warned(
                "WARNING: the container-wide volume-driver configuration is ignored for volumes "
                "specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
            )
    return draft


def _with_bind_options(mount: Mount, **fields: bool) -> Mount:
    if mount.bind_options is None:
        return mount
    options = msgspec.structs.replace(mount.bind_options, **fields)
    return msgspec.structs.replace(mount, bind_options=options)
