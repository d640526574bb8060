"""What older and newer clients find in answers about containers: a test for each row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.api.types.containers import inspect_to_wire, summary_to_wire
from services.api.versions.version import ApiVersion
from services.containers.config import ContainerConfig, EndpointSettings, HostConfig
from tests.services.api.containers import container, filled, running

MAC = "02:42:ac:11:00:99"


def inspected(minor: int, **fields: Any) -> dict[str, Any]:
    """What a client of 1.`minor` gets."""
    wire = inspect_to_wire(container(**fields), places={}, execs=[], version=ApiVersion(1, minor))
    return dict(msgspec.to_builtins(wire))


def listed(minor: int, **fields: Any) -> dict[str, Any]:
    """The same in a list."""
    one = container(**fields)
    wire = summary_to_wire(one, status="Up", image="busybox", version=ApiVersion(1, minor))
    return dict(msgspec.to_builtins(wire))


def with_host(**fields: Any) -> HostConfig:
    """A container's HostConfig with these fields, whatever the kernel has."""
    return msgspec.structs.replace(filled(HostConfig(network_mode="bridge")), **fields)


def test_kernel_memory_is_shown_to_those_who_know_it() -> None:
    """Below 1.42, and only if it is set."""
    set_ = {"host_config": with_host(kernel_memory=1 << 30)}
    assert inspected(41, **set_)["HostConfig"]["KernelMemory"] == 1 << 30
    assert "KernelMemory" not in inspected(42, **set_)["HostConfig"]
    assert "KernelMemory" not in inspected(41)["HostConfig"]


def test_kernel_memory_tcp_is_shown_to_those_who_know_it() -> None:
    """Below 1.52, and only if it is set."""
    set_ = {"host_config": with_host(kernel_memory_tcp=5)}
    assert inspected(51, **set_)["HostConfig"]["KernelMemoryTCP"] == 5
    assert "KernelMemoryTCP" not in inspected(52, **set_)["HostConfig"]
    assert "KernelMemoryTCP" not in inspected(51)["HostConfig"]


def test_the_short_id_was_an_alias() -> None:
    """Below 1.45, in networks of the users'."""
    fields: dict[str, Any] = {
        "networks": {"mine": EndpointSettings(aliases=["db"]), "bridge": EndpointSettings()},
        "config": ContainerConfig(image="busybox", hostname="h"),
    }
    networks = inspected(44, **fields)["NetworkSettings"]["Networks"]
    assert networks["mine"]["Aliases"] == ["db", "a" + 11 * "0", "h"]
    assert networks["bridge"]["Aliases"] is None
    assert inspected(45, **fields)["NetworkSettings"]["Networks"]["mine"]["Aliases"] == ["db"]


def test_the_manifest_is_told_since_1_48() -> None:
    """In both answers."""
    for answer in (inspected, listed):
        assert "ImageManifestDescriptor" not in answer(47)
        assert answer(48)["ImageManifestDescriptor"]["digest"] == "sha256:" + "2" * 64


def test_the_default_networks_addresses_were_told_twice() -> None:
    """Below 1.52."""
    old = inspected(51, status=running())["NetworkSettings"]
    new = inspected(52, status=running())["NetworkSettings"]
    assert old["IPAddress"] == new["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert set(old) - set(new) == {
        "Bridge", "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen",
        "HairpinMode", "IPAddress", "IPPrefixLen", "IPv6Gateway", "LinkLocalIPv6Address",
        "LinkLocalIPv6PrefixLen", "MacAddress", "SecondaryIPAddresses", "SecondaryIPv6Addresses",
    }  # fmt: skip


def test_the_mac_address_that_was_asked_for_was_the_containers() -> None:
    """Below 1.52; one that was made up is no wish."""
    asked: dict[str, Any] = {"networks": {"bridge": EndpointSettings(mac_address=MAC)}}
    assert inspected(51, **asked)["Config"]["MacAddress"] == MAC
    assert "MacAddress" not in inspected(52, **asked)["Config"]
    assert "MacAddress" not in inspected(51, status=running())["Config"]


def test_storage_replaced_the_graph_driver() -> None:
    """With 1.52."""
    old, new = inspected(51), inspected(52)
    assert old["GraphDriver"] == {"Name": "overlayfs", "Data": None}
    assert "Storage" not in old
    assert new["Storage"] == {"RootFS": {"Snapshot": {"Name": "overlayfs"}}}
    assert "GraphDriver" not in new


@pytest.mark.parametrize(("on_build", "old", "new"), [(None, True, False), (["RUN x"], True, True)])
def test_an_empty_on_build_is_left_out(on_build: list[str] | None, old: bool, new: bool) -> None:
    """Since 1.52."""
    config = ContainerConfig(image="busybox", on_build=on_build)
    assert ("OnBuild" in inspected(51, config=config)["Config"]) is old
    assert ("OnBuild" in inspected(52, config=config)["Config"]) is new


def test_annotations_are_listed_since_1_46() -> None:
    """If there are any."""
    annotated = {"host_config": with_host(annotations={"a": "b"})}
    assert listed(45, **annotated)["HostConfig"] == {"NetworkMode": "bridge"}
    assert listed(46, **annotated)["HostConfig"]["Annotations"] == {"a": "b"}
    assert "Annotations" not in listed(46)["HostConfig"]


def test_health_is_listed_since_1_52() -> None:
    """Without a check it is "none"."""
    assert "Health" not in listed(51)
    assert listed(52)["Health"] == {"Status": "none", "FailingStreak": 0}


NULL = (
    "Binds", "VolumesFrom", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts",
    "GroupAdd", "Links", "SecurityOpt", "BlkioWeightDevice", "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "Devices",
    "DeviceCgroupRules", "DeviceRequests", "MemorySwappiness", "PidsLimit", "Ulimits",
)  # fmt: skip
ABSENT = ("Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init")


def test_what_nothing_was_said_of_is_null_or_empty_or_absent_as_in_dockerd() -> None:
    """Go's types in dockerd 29 decide: slices and pointers are null, omitempty is left out."""
    wire = inspected(56, host_config=filled(HostConfig()))
    host = wire["HostConfig"]
    assert {name for name in NULL if host[name] is not None} == set()
    assert set(ABSENT) & set(host) == set()
    assert host["PortBindings"] == {}
    assert host["LogConfig"]["Config"] == {}
    assert list(host["ConsoleSize"]) == [0, 0]
    assert host["RestartPolicy"] == {"Name": "", "MaximumRetryCount": 0}
    assert host["OomKillDisable"] is False
    config = wire["Config"]
    assert [config[name] for name in ("Env", "Volumes", "Entrypoint")] == [None] * 3
    assert config["Labels"] == {}
    for name in (
        "ExposedPorts",
        "Healthcheck",
        "NetworkDisabled",
        "StopSignal",
        "StopTimeout",
        "Shell",
    ):
        assert name not in config
    endpoint = wire["NetworkSettings"]["Networks"]["bridge"]
    for name in ("IPAMConfig", "Links", "Aliases", "DriverOpts", "DNSNames"):
        assert endpoint[name] is None
    assert wire["ExecIDs"] is None
    assert wire["Mounts"] == []


def test_what_is_empty_on_purpose_stays_so() -> None:
    """A client that sent [] finds []; what Go leaves out when it is empty is left out."""
    said = filled(
        HostConfig(binds=[], cap_add=[], dns=[], devices=[], ulimits=[], security_opt=[], mounts=[],
                   tmpfs={}, sysctls={}, annotations={}, storage_opt={})
    )  # fmt: skip
    host = inspected(56, host_config=said)["HostConfig"]
    for name in ("Binds", "CapAdd", "Dns", "Devices", "Ulimits", "SecurityOpt"):
        assert host[name] == []
    assert set(ABSENT) & set(host) == set()
