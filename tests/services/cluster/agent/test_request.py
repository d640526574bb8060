"""`request`: the container of a task, field by field; every field of the spec has its test."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from services.cluster.agent.request import check_mounts, create_request
from services.cluster.model.objects import Endpoint, NetworkAttachment
from services.cluster.model.specs import PortConfig
from services.cluster.model.task_spec import (
    AppArmor,
    ContainerSpec,
    DiscreteGenericResource,
    DnsConfig,
    GenericResource,
    LogDriver,
    NamedGenericResource,
    Privileges,
    ResourceRequirements,
    Resources,
    Seccomp,
)
from services.containers.config import (
    EndpointIPAMConfig,
    HealthConfig,
    LogConfig,
    Mount,
    PortBinding,
    Ulimit,
)
from services.containers.definitions import CreateRequest
from services.errors import InvalidParameter
from tests.services.cluster.agent.support import NODE, network, task


def made(container: dict[str, Any] | None = None, **changes: Any) -> CreateRequest:
    return create_request(task(container=container, **changes), NODE, {})


CONFIG_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "command": (["sh"], "entrypoint", ["sh"]),
    "args": (["-c", "x"], "cmd", ["-c", "x"]),
    "hostname": ("h-{{.Task.Slot}}", "hostname", "h-1"),
    "env": (["A={{.Node.Hostname}}", "B"], "env", ["A=host1", "B"]),
    "dir": ("/srv", "working_dir", "/srv"),
    "user": ("1000", "user", "1000"),
    "tty": (True, "tty", True),
    "open_stdin": (True, "open_stdin", True),
    "stop_signal": ("SIGINT", "stop_signal", "SIGINT"),
    "stop_grace_period": (1_500_000_000, "stop_timeout", 2),
    "health_check": (HealthConfig(test=["NONE"]), "healthcheck", HealthConfig(test=["NONE"])),
    "image": ("busybox", "image", "busybox:latest"),
}
MOUNT = Mount(type="volume", source="data", target="/data")
HOST_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "groups": (["audio"], "group_add", ["audio"]),
    "read_only": (True, "readonly_rootfs", True),
    "mounts": ([MOUNT], "mounts", [MOUNT]),
    "hosts": (["10.0.0.1 a b"], "extra_hosts", ["a:10.0.0.1", "b:10.0.0.1"]),
    "dns_config": (DnsConfig(nameservers=["1.1.1.1"]), "dns", ["1.1.1.1"]),
    "oom_score_adj": (7, "oom_score_adj", 7),
    "isolation": ("default", "isolation", ""),
    "init": (False, "init", False),
    "sysctls": ({"net.core.somaxconn": "9"}, "sysctls", {"net.core.somaxconn": "9"}),
    "capability_add": (["CAP_SYS_TIME"], "cap_add", ["CAP_SYS_TIME"]),
    "capability_drop": (["ALL"], "cap_drop", ["ALL"]),
    "ulimits": (
        [Ulimit(name="nofile", soft=1, hard=2)],
        "ulimits",
        [Ulimit(name="nofile", soft=1, hard=2)],
    ),
    "privileges": (Privileges(no_new_privileges=True), "security_opt", ["no-new-privileges=true"]),
}
ELSEWHERE = {"labels", "secrets", "configs", "registry_auth"}
"""Labels have a test of their own; the others are no part of the request: files, and pulls."""


@pytest.mark.parametrize("name", CONFIG_FIELDS)
def test_config_field(name: str) -> None:
    """What goes into the container's config."""
    asked, field, expected = CONFIG_FIELDS[name]
    assert getattr(made({name: asked}).config, field) == expected


@pytest.mark.parametrize("name", HOST_FIELDS)
def test_host_config_field(name: str) -> None:
    """What goes into the container's host config."""
    asked, field, expected = HOST_FIELDS[name]
    assert getattr(made({name: asked}).host_config, field) == expected


def test_every_field_of_the_spec_is_looked_at() -> None:
    """A field that is added to the spec fails here until it has a test."""
    known = {*CONFIG_FIELDS, *HOST_FIELDS, *ELSEWHERE}
    assert set(ContainerSpec.__struct_fields__) == known


def test_name_and_labels() -> None:
    """As dockerd's, for a task with a slot and for one of a node."""
    request = made({"labels": {"mine": "1", "com.docker.swarm.task.id": "forged"}})
    assert request.name == "web.1.t1"
    assert request.config.labels == {
        "mine": "1",
        "com.docker.swarm.node.id": "n1",
        "com.docker.swarm.service.id": "s1",
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": "t1",
        "com.docker.swarm.task.name": "web.1.t1",
    }
    assert made(slot=0).name == "web.n1.t1"


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("nginx:1@sha256:" + "a" * 64, "nginx:1@sha256:" + "a" * 64),
        ("docker.io/library/nginx", "nginx:latest"),
        ("sha256:" + "a" * 64, "sha256:" + "a" * 64),
    ],
)
def test_image_name(image: str, named: str) -> None:
    """As people write it, with a tag; an id stays an id."""
    assert made({"image": image}).config.image == named


def test_limits_but_no_reservations() -> None:
    """Limits reach the kernel; reservations only the scheduler. Swap is counted beside memory."""
    limits = Resources(nano_cpus=5, memory_bytes=100, pids=9)
    wanted = ResourceRequirements(
        limits=limits,
        reservations=Resources(nano_cpus=4, memory_bytes=50),
        swap_bytes=20,
        memory_swappiness=3,
    )
    host = made(spec={"resources": wanted}).host_config
    assert (host.nano_cpus, host.memory, host.pids_limit) == (5, 100, 9)
    assert (host.memory_swap, host.memory_swappiness) == (120, 3)
    assert (host.memory_reservation, host.cpu_shares) == (0, 0)
    unlimited = msgspec.structs.replace(wanted, swap_bytes=-1)
    assert made(spec={"resources": unlimited}).host_config.memory_swap == -1


def test_ports_in_host_mode_only() -> None:
    """Those of the ingress network are not the container's."""
    ports = [
        PortConfig(target_port=80, published_port=8080, publish_mode="host"),
        PortConfig(target_port=80, published_port=8081, publish_mode="host"),
        PortConfig(target_port=53, protocol="udp", publish_mode="host"),
        PortConfig(target_port=443, published_port=30000, publish_mode="ingress"),
    ]
    request = made(endpoint=Endpoint(ports=ports))
    assert request.host_config.port_bindings == {
        "80/tcp": [PortBinding(host_port="8080"), PortBinding(host_port="8081")],
        "53/udp": [PortBinding()],
    }
    assert request.config.exposed_ports == {"80/tcp": {}, "53/udp": {}}


def test_generic_resources_are_in_the_environment() -> None:
    """One variable for each kind."""
    given = [
        GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value="b")),
        GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value="a")),
        GenericResource(discrete_resource_spec=DiscreteGenericResource(kind="ssd", value=3)),
    ]
    env = made({"env": ["A=1"]}, generic_resources=given).config.env
    assert env == ["A=1", "DOCKER_RESOURCE_GPU=b,a", "DOCKER_RESOURCE_SSD=3"]


def test_log_driver_of_the_task_goes_before_the_clusters() -> None:
    """And without either the daemon's is used."""
    usual = LogDriver(name="local", options={"max-size": "1m"})
    own = task(spec={"log_driver": LogDriver(name="none")})
    assert (
        create_request(own, NODE, {}, default_log_driver=usual).host_config.log_config.type
        == "none"
    )
    inherited = create_request(task(), NODE, {}, default_log_driver=usual).host_config.log_config
    assert inherited == LogConfig(type="local", config={"max-size": "1m"})
    assert made().host_config.log_config == LogConfig()


def test_networks_of_the_cluster() -> None:
    """By name, with the addresses that were allocated, and without the service's aliases."""
    attached = NetworkAttachment(
        network_id="net1",
        addresses=["10.0.1.5/24", "fd00::5/64"],
        aliases=["web"],
        driver_opts={"a": "b"},
    )
    networks = {"net1": network("net1", "backend")}
    asked = create_request(task(networks=[attached]), NODE, networks)
    ((name, endpoint),) = asked.networking.endpoints_config.items()
    assert endpoint is not None
    assert (name, endpoint.network_id, endpoint.aliases) == ("backend", "net1", None)
    assert endpoint.ipam_config == EndpointIPAMConfig(
        ipv4_address="10.0.1.5", ipv6_address="fd00::5"
    )
    assert endpoint.driver_opts == {"a": "b"}
    assert asked.host_config.network_mode == ""


@pytest.mark.parametrize("is_known", [True, False])
def test_the_nodes_own_network(is_known: bool) -> None:
    """`--network host` is the container's network mode, whether or not the cluster names it."""
    label = {"com.docker.swarm.predefined": "true"}
    networks = {"net1": network("net1", "host", driver="host", labels=label)} if is_known else {}
    attached = NetworkAttachment(network_id="net1" if is_known else "host")
    asked = create_request(task(networks=[attached]), NODE, networks)
    assert asked.host_config.network_mode == "host"
    assert asked.networking.endpoints_config == {}


def test_security_options() -> None:
    """seccomp, AppArmor and SELinux, as docker run has them."""
    profile = base64.b64encode(b'{"defaultAction": "SCMP_ACT_ALLOW"}').decode()
    wanted = Privileges(
        seccomp=Seccomp(mode="custom", profile=profile),
        app_armor=AppArmor(mode="disabled"),
        selinux_context={"User": "u", "Level": "l"},
    )
    assert made({"privileges": wanted}).host_config.security_opt == [
        "label=user:u",
        "label=level:l",
        'seccomp={"defaultAction": "SCMP_ACT_ALLOW"}',
        "apparmor=unconfined",
    ]
    unconfined = Privileges(seccomp=Seccomp(mode="unconfined"))
    assert made({"privileges": unconfined}).host_config.security_opt == ["seccomp=unconfined"]
    broken = Privileges(seccomp=Seccomp(mode="custom", profile="%"))
    with pytest.raises(InvalidParameter, match="invalid seccomp profile"):
        made({"privileges": broken})


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (Mount(type="bind", source="/a", target="b"), "invalid mount target"),
        (Mount(type="bind", source="a", target="/b"), "invalid bind mount source"),
        (Mount(type="volume", source="/a", target="/b"), "invalid volume mount source"),
        (Mount(type="tmpfs", source="a", target="/b"), "invalid tmpfs source"),
        (Mount(type="npipe", source="a", target="/b"), "invalid mount type: npipe"),
    ],
)
def test_wrong_mounts(mount: Mount, problem: str) -> None:
    """In dockerd's words."""
    with pytest.raises(InvalidParameter, match=problem):
        check_mounts([mount])


def test_templates_that_cannot_be() -> None:
    """Refused with Go's words, and what the template is of."""
    with pytest.raises(InvalidParameter, match="expanding hostname failed: template: expansion:1"):
        made({"hostname": "{{.Nothing}}"})


def test_the_label_for_the_rest_of_the_host_config() -> None:
    """What swarm's spec has no words for; it replaces what the spec says."""
    label = '{"Privileged": true, "Devices": [{"PathOnHost": "/dev/null"}], "CapAdd": ["ALL"]}'
    labels = {"io.wharfinger.host-config": label}
    host = made({"labels": labels, "capability_add": ["CAP_SYS_TIME"]}).host_config
    assert host.privileged
    assert host.devices is not None
    assert host.devices[0].path_on_host == "/dev/null"
    assert host.cap_add == ["ALL"]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("{", "invalid label io.wharfinger.host-config"),
        ('{"Nothing": 1}', "there is no Nothing"),
        ('{"RestartPolicy": {"Name": "always"}}', "RestartPolicy is the service's to say"),
        ('{"Privileged": "yes"}', "Expected `bool`"),
    ],
)
def test_a_label_that_cannot_be(label: str, problem: str) -> None:
    """Said, instead of passed over."""
    with pytest.raises(InvalidParameter, match=problem):
        made({"labels": {"io.wharfinger.host-config": label}})


def test_no_container() -> None:
    """A task without a container spec, or without an image, is none for us."""
    with pytest.raises(InvalidParameter, match="unsupported"):
        create_request(msgspec.structs.replace(task(), spec=task().spec.__class__()), NODE, {})
    with pytest.raises(InvalidParameter, match="image required"):
        made({"image": ""})
