"""What a service's spec must be, refusal by refusal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from services.cluster.control.service_checks import check_constraints, check_service
from services.cluster.model.specs import (
    EndpointSpec,
    PortConfig,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from services.cluster.model.task_spec import (
    FileTarget,
    NetworkAttachmentSpec,
    Placement,
    ResourceRequirements,
    Resources,
    SecretReference,
    TaskRestartPolicy,
    TaskSpec,
)
from services.containers.config import BindOptions, HealthConfig, Mount
from services.errors import InvalidParameter, NotSupported
from tests.services.cluster.objects import container_spec, service_spec


def template(**fields: Any) -> ServiceSpec:
    fields.setdefault("container_spec", container_spec())
    return service_spec(task_template=TaskSpec(**fields))


def contained(**fields: Any) -> ServiceSpec:
    return service_spec(container=container_spec(**fields))


def limited(**fields: Any) -> ServiceSpec:
    return template(resources=ResourceRequirements(limits=Resources(**fields)))


def ported(*ports: PortConfig, mode: str = "") -> ServiceSpec:
    return service_spec(endpoint_spec=EndpointSpec(mode=mode, ports=list(ports)))


def claim(name: str = "a", target: str | None = "t") -> SecretReference:
    file = None if target is None else FileTarget(name=target)
    return SecretReference(file=file, secret_id="i", secret_name=name)


JOB = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=1))
TWICE = Mount(type="volume", source="v", target="/a")

REFUSED = [
    (
        contained(hostname="{{.Foo}}"),
        'executing "expansion" at <.Foo>: can\'t evaluate field Foo in type template.Context',
    ),
    (
        contained(env=["A={{.Node"]),
        "expanding env A failed: template: expansion:1: unclosed action",
    ),
    (
        contained(mounts=[Mount(target="/{{.Node.ID}}"), Mount(target="/nodeid")]),
        "ContainerSpec: duplicate mount point: /nodeid",
    ),
    (contained(mounts=[Mount(type="foo", target="/a")]), 'invalid MountType: "foo"'),
    (
        contained(mounts=[Mount(type="bind", bind_options=BindOptions(propagation="up"))]),
        'invalid MountPropagation: "up"',
    ),
    (service_spec(""), "meta: name must be provided"),
    (service_spec("a b"), "name must be valid as a DNS name component"),
    (service_spec("a" * 64), "name must be 63 characters or fewer"),
    (template(container_spec=None), "mismatched Runtime and *Spec fields"),
    (template(runtime="wasm"), "unsupported runtime"),
    (
        template(network_attachment_spec=NetworkAttachmentSpec()),
        'invalid task spec: spec type "attachment" not supported',
    ),
    (contained(image=""), "ContainerSpec: image reference must be provided"),
    (contained(image="A:B:C"), 'ContainerSpec: "A:B:C" is not a valid repository/tag'),
    (contained(mounts=[TWICE, TWICE]), "ContainerSpec: duplicate mount point: /a"),
    (
        contained(health_check=HealthConfig(interval=1)),
        "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
    ),
    (
        contained(health_check=HealthConfig(retries=-1)),
        "ContainerSpec: Retries in HealthConfig cannot be negative",
    ),
    (contained(secrets=[SecretReference()]), "malformed secret reference"),
    (
        contained(secrets=[claim(target=None)]),
        "malformed secret reference, no target provided",
    ),
    (
        contained(secrets=[claim(target="")]),
        "malformed file secret reference, invalid target file name provided",
    ),
    (
        contained(secrets=[claim("a"), claim("b")]),
        "secret references 'a' and 'b' have a conflicting target: 't'",
    ),
    (limited(nano_cpus=10), "invalid cpu value 1e-08: Must be at least 0.001"),
    (limited(memory_bytes=10), "invalid memory value 10: Must be at least 4MiB"),
    (
        template(restart_policy=TaskRestartPolicy(delay=-1)),
        "TaskSpec: restart-delay cannot be negative",
    ),
    (
        template(restart_policy=TaskRestartPolicy(window=-1)),
        "TaskSpec: restart-window cannot be negative",
    ),
    (
        template(restart_policy=TaskRestartPolicy(condition="sometimes")),
        'invalid RestartCondition: "sometimes"',
    ),
    (
        template(placement=Placement(constraints=["node.role"])),
        "constraint expected one operator from ==, !=: 'node.role' has none of them",
    ),
    (
        service_spec(update_config=UpdateConfig(delay=-1)),
        "TaskSpec: update-delay cannot be negative",
    ),
    (
        service_spec(update_config=UpdateConfig(monitor=-1)),
        "TaskSpec: update-monitor cannot be negative",
    ),
    (
        service_spec(update_config=UpdateConfig(max_failure_ratio=1.5)),
        "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
    ),
    (
        service_spec(rollback_config=UpdateConfig(order="random")),
        "unrecognized update order random",
    ),
    (
        service_spec(mode=ServiceMode(replicated=Replicated(replicas=-1))),
        "Number of replicas must be non-negative",
    ),
    (
        service_spec(mode=JOB, update_config=UpdateConfig()),
        "Jobs may not have an update config",
    ),
    (ported(mode="anycast"), 'invalid resolution mode: "anycast"'),
    (
        ported(PortConfig(target_port=80), mode="dnsrr"),
        "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
    ),
    (
        ported(PortConfig(published_port=80), PortConfig(published_port=80)),
        "EndpointSpec: duplicate published ports provided",
    ),
]


@pytest.mark.parametrize(("spec", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_refusals(spec: ServiceSpec, text: str) -> None:
    """Each with its own sentence, at the end of what is said."""
    with pytest.raises(InvalidParameter, match=re.escape(text) + "$"):
        check_service(spec)


def test_plugins_tasks_are_not_offered() -> None:
    """They are another kind of error: 501."""
    with pytest.raises(NotSupported):
        check_service(template(plugin_spec={"Name": "x"}))


def test_what_is_let_through() -> None:
    """Ports that share a number, and targets that share a name, where they may."""
    check_service(
        ported(
            PortConfig(published_port=53),
            PortConfig(published_port=53, protocol="udp"),
            PortConfig(target_port=80),
            PortConfig(target_port=81),
        )
    )
    check_service(ported(PortConfig(target_port=80, publish_mode="host"), mode="dnsrr"))
    check_service(contained(secrets=[claim("a", "x"), claim("a", "y")]))
    check_service(service_spec(mode=JOB))


@pytest.mark.parametrize(
    "text",
    [
        "node.role==manager", "node.labels.zone != eu-1", "node.id == abc",
        "engine.labels.operatingsystem==ubuntu 22.04", "node.platform.os==linux",
    ],
)  # fmt: skip
def test_constraints(text: str) -> None:
    """Blanks around the operator mean nothing."""
    check_constraints([text])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("node role==manager", "key 'node role' is invalid"),
        ("node.role==", "value '' is invalid"),
        ("node.role==a<b", "value 'a<b' is invalid"),
        ("node.role>1", "constraint expected one operator"),
    ],
)
def test_constraints_that_are_none(text: str, problem: str) -> None:
    """The part that is wrong is named."""
    with pytest.raises(InvalidParameter, match=re.escape(problem)):
        check_constraints([text])
