"""Containers as values, for tests of what is told about them."""

from __future__ import annotations

from typing import Any

from services.containers import Container, ContainerId, MountPoint, State
from services.containers.config import ContainerConfig, EndpointSettings, HostConfig
from services.containers.model import Definition, ImageDescriptor, Status
from services.containers.spec import SpecDefaults, adapt_host_config, validate
from services.system import HostFacts

SECOND_NS = 10**9
BORN_NS = 1_700_000_000 * SECOND_NS
IMAGE = "sha256:" + "1" * 64


def container_id(digit: str) -> ContainerId:
    """64 digits that begin with `digit`."""
    return ContainerId(digit.ljust(64, "0"))


def filled(host: HostConfig) -> HostConfig:
    """`host` with the defaults that a container gets when it is created."""
    facts, defaults = HostFacts(), SpecDefaults()
    adapted = adapt_host_config(host, facts, defaults)
    return validate(ContainerConfig(), adapted, facts, defaults)[0]


def container(digit: str = "a", name: str = "", **fields: Any) -> Container:
    """A created container; `status` and every field of its definition can be given."""
    status = fields.pop("status", Status())
    defaults: dict[str, Any] = {
        "id": container_id(digit),
        "name": name or f"name-{digit}",
        "created_at_ns": BORN_NS,
        "config": ContainerConfig(image="busybox", cmd=["sh", "-c", "true"]),
        "host_config": filled(HostConfig(network_mode="bridge")),
        "path": "sh",
        "args": ["-c", "true"],
        "image_id": IMAGE,
        "image_manifest": ImageDescriptor(
            media_type="application/vnd.oci.image.manifest.v1+json",
            digest="sha256:" + "2" * 64,
            size=500,
            platform={"architecture": "amd64", "os": "linux"},
        ),
        "runtime": "runc",
        "networks": {"bridge": EndpointSettings()},
    }
    return Container(Definition(**(defaults | fields)), status)


def running(**fields: Any) -> Status:
    """The status of a container that runs on the bridge."""
    defaults: dict[str, Any] = {
        "state": State.RUNNING,
        "pid": 4242,
        "started_at_ns": BORN_NS + SECOND_NS,
        "runs": 1,
        "networks": {
            "bridge": EndpointSettings(
                network_id="3" * 64,
                endpoint_id="4" * 64,
                gateway="172.17.0.1",
                ip_address="172.17.0.2",
                ip_prefix_len=16,
                mac_address="02:42:ac:11:00:02",
            )
        },
    }
    return Status(**(defaults | fields))


def exited(code: int = 137, **fields: Any) -> Status:
    """The status of a container that ran for a minute."""
    defaults: dict[str, Any] = {
        "state": State.EXITED,
        "exit_code": code,
        "started_at_ns": BORN_NS + SECOND_NS,
        "finished_at_ns": BORN_NS + 61 * SECOND_NS,
        "runs": 1,
    }
    return Status(**(defaults | fields))


BIND = MountPoint(
    type="bind", source="/srv", destination="/data", mode="ro", rw=False, propagation="rprivate"
)
