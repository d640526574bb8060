"""Services: made, changed, rolled back, counted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from services.cluster.control.documents import SECRETS, Documents
from services.cluster.control.service_changes import ServiceOptions
from services.cluster.control.services import Services
from services.cluster.model.objects import ClusterNetwork, Endpoint, Service, Stored
from services.cluster.model.specs import (
    Empty,
    EndpointSpec,
    PortConfig,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from services.cluster.model.task_spec import NetworkAttachmentConfig, TaskSpec
from services.cluster.model.task_state import TaskState
from services.cluster.store.contract import OutOfSequence
from services.errors import Conflict, Forbidden, InvalidParameter, NotFound, NotSupported
from tests.services.cluster.control.fakes import FakeLocalNetworks, FakeRegistry
from tests.services.cluster.objects import (
    config,
    container_spec,
    network,
    secret,
    service,
    service_spec,
    store_of,
    task,
    with_config,
    with_secret,
)

PLAIN = ServiceOptions()
GLOBAL = ServiceMode(global_=Empty())


class Cluster:
    """Services on a store that tests look into."""

    def __init__(self, *objects: Stored, registry: FakeRegistry | None = None) -> None:
        self.store = store_of(*objects)
        self.registry = registry or FakeRegistry()
        self.services = Services(self.store, self.registry, FakeLocalNetworks())

    def now(self, name: str = "web") -> Service:
        return self.services.get(name).service

    async def change(self, options: ServiceOptions = PLAIN, **fields: Any) -> tuple[str, ...]:
        """Update `web` at the version that it is of."""
        return await self.services.update(
            "web", self.now().version, service_spec(**fields), options
        )


async def test_a_service_is_made_with_what_its_spec_leaves_open() -> None:
    """A name of two words, one replica, ports by their protocol's and mode's names."""
    cluster = Cluster()
    spec = ServiceSpec(
        task_template=TaskSpec(container_spec=container_spec()),
        endpoint_spec=EndpointSpec(
            ports=[PortConfig(target_port=80, protocol="", publish_mode="")]
        ),
    )
    made, warnings = await cluster.services.create(spec, PLAIN)
    assert warnings == ()
    assert re.fullmatch(r"[a-z]+_[a-z]+", made.name)
    stored = cluster.now(made.id)
    assert stored.spec.mode == ServiceMode(replicated=Replicated(replicas=1))
    assert stored.spec.endpoint_spec == EndpointSpec(mode="vip", ports=[PortConfig(target_port=80)])
    assert (stored.spec_version, stored.job_status) == (1, None)


async def test_a_job_counts_its_iterations() -> None:
    """Each change is a new one; how many at once is as many as in all, if only that is said."""
    cluster = Cluster()
    mode = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=3))
    await cluster.services.create(service_spec(mode=mode), PLAIN)
    first = cluster.now()
    assert first.spec.mode.replicated_job == ReplicatedJob(max_concurrent=3, total_completions=3)
    assert first.job_status is not None
    assert first.job_status.iteration == 0
    await cluster.change(mode=mode, labels={"again": ""})
    second = cluster.now().job_status
    assert second is not None
    assert second.iteration == 1
    assert second.last_execution > first.job_status.last_execution  # type: ignore[operator]


async def test_a_name_is_one_services() -> None:
    """Also when another manager was quicker."""
    cluster = Cluster(service("web"))
    with pytest.raises(Conflict) as known:
        await cluster.services.create(service_spec("web"), PLAIN)
    cluster.store.behind.append(service("api"))
    with pytest.raises(Conflict) as raced:
        await cluster.services.create(service_spec("api"), PLAIN)
    text = "name conflicts with an existing object: service {} already exists"
    assert str(known.value).endswith(text.format("web"))
    assert str(raced.value).endswith(text.format("api"))


async def test_networks_are_stored_by_id() -> None:
    """Names and beginnings of ids are for people; one object stands for all nodes' own networks."""
    front = network("front")
    cluster = Cluster(front)
    joined = [NetworkAttachmentConfig(target=one) for one in ("front", "host")]
    template = TaskSpec(container_spec=container_spec(), networks=joined)
    made, _ = await cluster.services.create(service_spec(task_template=template), PLAIN)
    host = next(one for one in cluster.store.snapshot().networks.values() if one.name == "host")
    assert [one.target for one in made.spec.task_template.networks] == [front.id, host.id]
    assert host.spec.labels == {"com.docker.swarm.predefined": "true"}
    again, _ = await cluster.services.create(service_spec("again", task_template=template), PLAIN)
    assert again.spec.task_template.networks == made.spec.task_template.networks


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        ("nowhere", NotFound, "network nowhere not found"),
        ("lan", Forbidden, "The network lan cannot be used with services. Only networks scoped"),
        ("mesh", InvalidParameter, 'cannot be explicitly attached to the ingress network "mesh"'),
    ],
)
async def test_networks_that_services_cannot_have(
    target: str, error: type[Exception], text: str
) -> None:
    """None, this engine's own, and the routing mesh's."""
    cluster = Cluster(network("mesh", ingress=True))
    joined = [NetworkAttachmentConfig(target=target)]
    template = TaskSpec(container_spec=container_spec(), networks=joined)
    with pytest.raises(error, match=re.escape(text)):
        await cluster.services.create(service_spec(task_template=template), PLAIN)


async def test_secrets_and_configs_must_be_there_under_the_name() -> None:
    """An id alone does not do: the name may be another's by now."""
    key, file = secret("key"), config("file")
    cluster = Cluster(key, file)
    good = container_spec(secrets=[with_secret(key)], configs=[with_config(file)])
    await cluster.services.create(service_spec("good", container=good), PLAIN)
    renamed = replace(with_secret(key), secret_name="other")
    lost = replace(with_config(file), config_id="x")
    for container, text in (
        (container_spec(secrets=[renamed]), "secret not found: other"),
        (container_spec(configs=[lost]), "config not found: file"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            await cluster.services.create(service_spec("bad", container=container), PLAIN)


async def test_what_goes_in_the_same_instant_is_missed() -> None:
    """It was there when the spec was looked at, and is not when the service is written."""
    key = secret("key")
    cluster = Cluster(key)
    cluster.store.leaving.append(cluster.store.snapshot().secrets[key.id])
    container = container_spec(secrets=[with_secret(key)])
    with pytest.raises(InvalidParameter, match="secret not found: key"):
        await cluster.services.create(service_spec(container=container), PLAIN)
    front = network("front")
    cluster = Cluster(front)
    cluster.store.leaving.append(cluster.store.snapshot().networks[front.id])
    template = TaskSpec(container_spec=container_spec(), networks=[attached(front)])
    with pytest.raises(NotFound, match=f"network {front.id} not found"):
        await cluster.services.create(service_spec(task_template=template), PLAIN)
    assert not cluster.store.snapshot().services


async def test_nothing_is_rolled_back_to_what_has_gone() -> None:
    """The secret of the spec before was nobody's since, and somebody has removed it."""
    key = secret("key")
    cluster = Cluster(key, service("web", container=container_spec(secrets=[with_secret(key)])))
    await cluster.change(container=container_spec())
    await Documents(cluster.store, SECRETS).remove("key")
    with pytest.raises(InvalidParameter, match="secret not found: key"):
        await cluster.change(ServiceOptions(rollback="previous"), container=container_spec())


async def test_what_another_manager_has_made_a_moment_ago_is_there() -> None:
    """Its client may ask this one for it, which has not read it yet."""
    key, front = secret("key"), network("front")
    cluster = Cluster()
    cluster.store.lagging += [key, front]
    template = TaskSpec(container_spec=container_spec(), networks=[attached(front)])
    await cluster.services.create(service_spec("web", task_template=template), PLAIN)
    cluster.store.lagging.append(service("api"))
    await cluster.services.remove("api")


def attached(to: ClusterNetwork) -> NetworkAttachmentConfig:
    return NetworkAttachmentConfig(target=to.name)


def publishing(port: int, mode: str = "ingress", protocol: str = "tcp") -> EndpointSpec:
    ports = [PortConfig(target_port=80, published_port=port, publish_mode=mode, protocol=protocol)]
    return EndpointSpec(ports=ports)


async def test_a_port_is_one_services() -> None:
    """Asked for or given; host mode shares with host mode only."""
    given = service("given", endpoint=Endpoint(ports=[PortConfig(published_port=30000)]))
    cluster = Cluster(
        service("mesh", endpoint_spec=publishing(80)),
        service("host", endpoint_spec=publishing(81, "host")),
        given,
    )
    for endpoint, text in (
        (publishing(80), "port '80' is already in use by service 'mesh' .* as an ingress port"),
        (publishing(80, "host"), "port '80' is already in use by service 'mesh'"),
        (publishing(81), "port '81' .* 'host' .* as a host-published port"),
        (publishing(30000), "port '30000' is already in use by service 'given'"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            await cluster.services.create(service_spec(endpoint_spec=endpoint), PLAIN)
    for name, endpoint in (("a", publishing(81, "host")), ("b", publishing(80, protocol="udp"))):
        await cluster.services.create(service_spec(name, endpoint_spec=endpoint), PLAIN)


async def test_an_update_keeps_what_was_before() -> None:
    """And numbers its spec anew; what an update before it has come to is forgotten."""
    cluster = Cluster(service("web"))
    before = cluster.now()
    await cluster.change(mode=ServiceMode(replicated=Replicated(replicas=5)))
    after = cluster.now()
    assert after.spec.mode.replicated == Replicated(replicas=5)
    assert after.previous_spec == before.spec
    assert (after.spec_version, after.previous_spec_version) == (2, 1)
    assert after.update_status is None
    assert after.updated_at > before.updated_at


async def test_a_roll_back_changes_places_and_numbers_never_repeat() -> None:
    """A spec that comes after a roll back is not taken for the one that was rolled back."""
    cluster = Cluster(service("web"))
    with pytest.raises(InvalidParameter, match="does not have a previous spec"):
        await cluster.change(ServiceOptions(rollback="previous"))
    await cluster.change(labels={"v": "2"})
    await cluster.change(ServiceOptions(rollback="previous"))
    back = cluster.now()
    assert (back.spec.labels, back.spec_version, back.previous_spec_version) == ({}, 3, 2)
    assert back.update_status is not None
    assert back.update_status.state == "rollback_started"
    assert back.update_status.message == "manually requested rollback"
    await cluster.change(labels={"v": "3"})
    assert cluster.now().spec_version == 4


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "other"}, "renaming services is not supported"),
        ({"mode": GLOBAL}, "service mode change is not allowed"),
        (
            {"networks": [NetworkAttachmentConfig(target="front")]},
            "networks must be migrated to TaskSpec before being changed",
        ),
    ],
)
async def test_what_an_update_cannot_change(fields: dict[str, Any], text: str) -> None:
    """501, as dockerd's."""
    cluster = Cluster(service("web"), network("front"))
    with pytest.raises(NotSupported, match=text):
        await cluster.change(**fields)


async def test_an_update_is_of_one_version() -> None:
    """Whoever comes second has not seen the first."""
    cluster = Cluster(service("web"))
    version = cluster.now().version
    await cluster.change(labels={"first": ""})
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        await cluster.services.update("web", version, service_spec(), PLAIN)
    cluster.store.behind.append(cluster.now())
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        await cluster.change(labels={"raced": ""})


async def test_a_version_from_a_manager_that_is_ahead_is_waited_for(
    autojump_clock: object,
) -> None:
    """Not for ever: one that never comes is out of sequence."""
    cluster = Cluster(service("web"))
    with pytest.raises(OutOfSequence):
        await cluster.services.update("web", 1000, service_spec(), PLAIN)


async def test_credentials_are_kept_until_others_come() -> None:
    """Those of the spec, or of the one before."""
    cluster = Cluster()
    await cluster.services.create(service_spec(), ServiceOptions(registry_auth="first"))

    def auth() -> str:
        container = cluster.now().spec.task_template.container_spec
        assert container is not None
        return container.registry_auth

    assert auth() == "first"
    await cluster.change(labels={"v": "2"})
    assert auth() == "first"
    await cluster.change(ServiceOptions(registry_auth="second"))
    assert auth() == "second"
    await cluster.change(ServiceOptions(registry_auth_from="previous-spec"))
    assert auth() == "first"
    with pytest.raises(InvalidParameter, match="unsupported registryAuthFrom value"):
        await cluster.change(ServiceOptions(registry_auth_from="elsewhere"))


async def test_an_image_is_pinned_when_that_is_asked_for() -> None:
    """With the service's credentials. One that has a digest is not asked about."""
    cluster = Cluster()
    options = ServiceOptions(registry_auth="auth", pins_digest=True)
    made, warnings = await cluster.services.create(service_spec(), options)
    assert warnings == ()
    pinned = made.spec.task_template.container_spec
    assert pinned is not None
    assert pinned.image == f"busybox:latest@sha256:{'a' * 64}"
    await cluster.change(ServiceOptions(pins_digest=True), container=container_spec(pinned.image))
    assert cluster.registry.asked == [("busybox:latest", "auth")]


async def test_a_registry_that_is_away_is_a_warning() -> None:
    """The service is made all the same."""
    cluster = Cluster(registry=FakeRegistry(is_away=True))
    options = ServiceOptions(pins_digest=True)
    _, warnings = await cluster.services.create(service_spec(), options)
    assert warnings[0].startswith("image busybox:latest could not be accessed on a registry")
    container = cluster.now().spec.task_template.container_spec
    assert container is not None
    assert container.image == "busybox:latest"


async def test_a_service_is_removed_at_any_version() -> None:
    """Nobody need have looked at it before."""
    cluster = Cluster(service("web"))
    cluster.store.behind.append(service("web", labels={"changed": "meanwhile"}))
    await cluster.services.remove("web")
    with pytest.raises(NotFound, match=r"^service web not found$"):
        await cluster.services.remove("web")


def test_status_counts_tasks() -> None:
    """Of a global service those that are to run are what is desired; of a job its iteration's."""
    web = service("web", mode=ServiceMode(replicated=Replicated(replicas=3)))
    agent = service("agent", mode=GLOBAL)
    cluster = Cluster(
        web,
        agent,
        task("t1", web),
        task("t2", web, TaskState.PENDING),
        task("t3", web, TaskState.FAILED, desired_state=TaskState.SHUTDOWN),
        task("t4", agent),
        task("t5", agent, TaskState.SHUTDOWN, desired_state=TaskState.SHUTDOWN),
    )
    found = {one.service.name: one.status for one in cluster.services.list({}, with_status=True)}
    counts = {name: (status.running, status.desired) for name, status in found.items() if status}
    assert counts == {"web": (1, 3), "agent": (1, 1)}
    assert cluster.services.list({})[0].status is None


def test_filters() -> None:
    """Names and ids by their beginnings, modes by their words."""
    cluster = Cluster(service("web", labels={"tier": "front"}), service("agent", mode=GLOBAL))

    def names(**filters: tuple[str, ...]) -> list[str]:
        return [one.service.name for one in cluster.services.list(filters)]

    assert names() == ["agent", "web"]
    assert names(name=("w",)) == ["web"]
    assert names(mode=("global",)) == ["agent"]
    assert names(label=("tier=front",)) == ["web"]
    assert names(runtime=("plugin",)) == []
    with pytest.raises(InvalidParameter, match=r"^invalid filter 'node'$"):
        names(node=("n1",))


def test_defaults_are_filled_in_where_they_are_asked_for() -> None:
    """Only in what is answered: the store keeps what was said."""
    cluster = Cluster(service("web", update_config=UpdateConfig(parallelism=2)))
    spec = cluster.services.get("web", fill_in=True).service.spec
    assert spec.update_config == UpdateConfig(
        parallelism=2, failure_action="pause", order="stop-first", monitor=5 * 10**9
    )
    assert spec.rollback_config is not None
    assert spec.rollback_config.parallelism == 1
    assert spec.task_template.restart_policy is not None
    assert spec.task_template.restart_policy.delay == 5 * 10**9
    assert cluster.now().spec.rollback_config is None
