"""The cluster's services: looked at, made, changed and taken away.

Source: swarmkit, manager/controlapi/service.go; moby, daemon/cluster/services.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from loguru import logger
from msgspec.structs import replace

from services.cluster.control import node_local
from services.cluster.control.changes import (
    after_catching_up,
    at_version,
    change_any_version,
    seen,
    touched,
)
from services.cluster.control.filters import Filters, begins, check_known, has_labels, is_one_of
from services.cluster.control.find import find
from services.cluster.control.port_conflicts import check_ports
from services.cluster.control.ports import ControlStore, ImageDigests, LocalNetworks
from services.cluster.control.refusals import exists, invalid
from services.cluster.control.service_changes import (
    ServiceOptions,
    check_change,
    container_of,
    counted,
    moved,
    rolled_back,
    with_kept_auth,
)
from services.cluster.control.service_checks import check_service
from services.cluster.control.service_references import Used, ids_named_by, used_by
from services.cluster.control.service_specs import (
    filled,
    mode_of,
    networks_of,
    with_container,
    with_defaults,
    with_network_ids,
)
from services.cluster.control.service_status import ServiceStatus, status_of
from services.cluster.model.objects import ClusterNetwork, JobStatus, Service
from services.cluster.model.snapshot import Change, Delete, Put, Snapshot, Transaction
from services.cluster.model.specs import ServiceSpec
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import MAX_USES, NameTaken, UseOfNothing
from services.containers.names import made_up_name
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
)

log = logger.bind(service="cluster")

REGISTRY_S: Final = 20.0
"""How long a registry may take to tell a digest, before the service is made without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenService:
    """A service, and if it was asked for, how many of its tasks run."""

    service: Service
    status: ServiceStatus | None = None


class Services:
    """Operations on services."""

    def __init__(
        self, store: ControlStore, images: ImageDigests, local_networks: LocalNetworks
    ) -> None:
        self._store, self._images, self._local = store, images, local_networks

    def list(self, filters: Filters, *, with_status: bool = False) -> Sequence[SeenService]:
        """Those that all filters let pass, by age.

        Raises:
            InvalidParameter: an unknown filter.
        """
        check_known(filters, "name", "id", "label", "mode", "runtime")
        runtimes = filters.get("runtime", ()) or ("container",)
        snapshot = self._store.snapshot()
        chosen = [
            service
            for service in snapshot.services.values()
            if begins(service.name, filters.get("name", ()))
            and begins(service.id, filters.get("id", ()))
            and has_labels(service.spec.labels, filters.get("label", ()))
            and is_one_of(mode_of(service.spec.mode), filters.get("mode", ()))
            and (service.spec.task_template.runtime or "container") in runtimes
        ]
        return [
            SeenService(
                service=service,
                status=status_of(service, snapshot.tasks_of_service(service.id))
                if with_status
                else None,
            )
            for service in sorted(chosen, key=lambda one: (one.created_at, one.id))
        ]

    def get(self, ref: str, *, fill_in: bool = False) -> SeenService:
        """By id, name or beginning of its id; `fill_in`: with what is done where it is silent.

        Raises:
            NotFound: there is none.
            InvalidParameter: several are meant.
        """
        service = find("service", self._store.snapshot().services, ref)
        if fill_in:
            service = replace(service, spec=with_defaults(service.spec))
        return SeenService(service=service)

    async def create(
        self, spec: ServiceSpec, options: ServiceOptions
    ) -> tuple[Service, tuple[str, ...]]:
        """Make a service; warnings come with it.

        Raises:
            InvalidParameter: the spec cannot be meant, or names what there is not.
            NotFound: one of its networks.
            Forbidden: one of its networks is this engine's alone.
            Conflict: the name is taken.
            NotSupported: it is a plugin.
        """
        snapshot = self._store.snapshot()
        names = {one.name for one in snapshot.services.values()}
        spec = filled(spec, made_up_name(names.__contains__))
        check_service(spec)
        spec = await self._resolved(spec, snapshot)
        container = container_of(spec)
        spec = with_container(spec, replace(container, registry_auth=options.registry_auth))
        spec, warnings = await self._pinned(spec, options)
        now = utc_now()
        is_job = spec.mode.replicated_job is not None or spec.mode.global_job is not None
        service = Service(
            id=new_id(),
            created_at=now,
            updated_at=now,
            spec=spec,
            job_status=JobStatus(last_execution=now) if is_job else None,
        )

        def checked() -> Sequence[Used]:
            snapshot = self._store.snapshot()
            check_ports(spec, snapshot.services.values())
            if any(one.name == spec.name for one in snapshot.services.values()):
                raise _taken(spec.name)
            return used_by(spec, snapshot)

        try:
            await self._put(service, checked)
        except NameTaken as error:
            raise _taken(spec.name) from error
        return service, warnings

    async def update(
        self, ref: str, version: int, spec: ServiceSpec, options: ServiceOptions
    ) -> tuple[str, ...]:
        """Change a service to `spec`, or back to what it was before; its warnings.

        Raises:
            OutOfSequence: it is of another version.
            NotSupported: another name or mode is asked for.
            EngineError: as `create`, and if there is no previous spec.
        """
        if options.rollback not in ("", "none", "previous"):
            raise InvalidParameter(f"unrecognized rollback option {options.rollback}")
        snapshot = await seen(self._store, version)
        found = find("service", snapshot.services, ref)
        spec = filled(spec, found.name)
        check_service(spec)
        spec = await self._resolved(spec, snapshot)
        spec = with_container(spec, with_kept_auth(found, container_of(spec), options))
        spec, warnings = await self._pinned(spec, options)
        # The registry may have taken its time: what is written is judged by what is there now.
        snapshot = self._store.snapshot()
        present = at_version(find("service", snapshot.services, found.id), version)
        check_change(present.spec, spec)
        changed = rolled_back(present) if options.rollback == "previous" else moved(present, spec)
        named_before = ids_named_by(present.spec)

        def checked() -> Sequence[Used]:
            snapshot = self._store.snapshot()
            if spec.endpoint_spec != present.spec.endpoint_spec:
                check_ports(spec, (one for one in snapshot.services.values() if one.id != found.id))
            return [one for one in used_by(changed.spec, snapshot) if one.id not in named_before]

        await self._put(touched(counted(changed)), checked)
        return warnings

    async def _put(self, service: Service, check: Callable[[], Sequence[Used]]) -> None:
        """Write a service that begins to name what `check` returns.

        What goes in this instant is told in the words of `check`, which finds it missing then. Of
        more than MAX_USES the rest is only looked for.
        """
        while True:
            uses = await after_catching_up(self._store, check)
            try:
                await self._store.commit(Transaction((Put(service),), tuple(uses[:MAX_USES])))
            except UseOfNothing:
                continue
            return

    async def remove(self, ref: str) -> None:
        """Take a service away; its tasks end then.

        Raises:
            NotFound: there is none.
            InvalidParameter: several are meant.
        """

        def decide(snapshot: Snapshot) -> Sequence[Change]:
            return (Delete(find("service", snapshot.services, ref)),)

        await change_any_version(self._store, decide)

    async def _resolved(self, spec: ServiceSpec, snapshot: Snapshot) -> ServiceSpec:
        """`spec` with networks by their ids. Raises NotFound, Forbidden."""
        ids = {}
        for one in networks_of(spec):
            own = node_local.as_spanning(snapshot, one.target)
            if own is not None:
                ids[one.target] = (await node_local.node_local(self._store, own.name)).id
                continue
            try:
                network = await after_catching_up(self._store, partial(self._network, one.target))
            except NotFound:
                name = await self._local.name_of(one.target)
                if name is None:
                    raise
                raise Forbidden(
                    f"The network {name} cannot be used with services. Only networks scoped to the "
                    "swarm can be used, such as those created with the overlay driver."
                ) from None
            if network.spec.ingress:
                raise invalid(
                    f'Service cannot be explicitly attached to the ingress network "{network.name}"'
                )
            ids[one.target] = network.id
        return with_network_ids(spec, ids)

    def _network(self, ref: str) -> ClusterNetwork:
        return find("network", self._store.snapshot().networks, ref)

    async def _pinned(
        self, spec: ServiceSpec, options: ServiceOptions
    ) -> tuple[ServiceSpec, tuple[str, ...]]:
        """`spec` with its image's digest, if that is asked for and the registry tells it."""
        container = container_of(spec)
        if not options.pins_digest or "@" in container.image:
            return spec, ()
        try:
            with trio.move_on_after(REGISTRY_S):
                image = await self._images.pinned(container.image, container.registry_auth)
                return with_container(spec, replace(container, image=image)), ()
            raise DeadlineExceeded(f"the registry has not answered in {REGISTRY_S:.0f} s")
        except EngineError as error:
            log.warning("image not pinned", image=container.image, error=str(error))
        return spec, (digest_warning(container.image),)


def digest_warning(image: str) -> str:
    """What a client is told whose image stays a tag. It is dockerd's."""
    return (
        f"image {image} could not be accessed on a registry to record\nits digest. Each node will "
        f"access {image} independently,\npossibly leading to different nodes running different\n"
        "versions of the image.\n"
    )


def _taken(name: str) -> Conflict:
    return exists(f"name conflicts with an existing object: service {name} already exists")
