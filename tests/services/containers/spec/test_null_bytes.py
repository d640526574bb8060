"""Null bytes in paths, wherever a create may have a path."""

from __future__ import annotations

import pytest

from services.containers.config import ContainerConfig, DeviceMapping, HostConfig, Mount
from services.containers.spec.null_bytes import check_null_bytes
from services.errors import InvalidParameter

NUL = "/a\x00b"


@pytest.mark.parametrize(
    ("config", "host"),
    [
        (ContainerConfig(working_dir=NUL), HostConfig()),
        (ContainerConfig(volumes={NUL: {}}), HostConfig()),
        (ContainerConfig(), HostConfig(binds=[f"{NUL}:/x"])),
        (ContainerConfig(), HostConfig(binds=[f"v:{NUL}"])),
        (ContainerConfig(), HostConfig(tmpfs={NUL: ""})),
        (ContainerConfig(), HostConfig(cgroup_parent=NUL)),
        (ContainerConfig(), HostConfig(mounts=[Mount(type="bind", source=NUL, target="/x")])),
        (ContainerConfig(), HostConfig(mounts=[Mount(type="volume", target=NUL)])),
        (ContainerConfig(), HostConfig(devices=[DeviceMapping(path_on_host=NUL)])),
    ],
)
def test_a_null_byte(config: ContainerConfig, host: HostConfig) -> None:
    """Refused before anything is made."""
    with pytest.raises(InvalidParameter, match="null byte"):
        check_null_bytes(config, host)


def test_paths_without_one() -> None:
    """Nothing else is refused here."""
    check_null_bytes(ContainerConfig(working_dir="/w"), HostConfig(binds=["/a:/b"]))
