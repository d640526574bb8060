"""What an update makes of a service: its new spec, its numbers, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from services.cluster.control.refusals import precondition, unimplemented
from services.cluster.control.service_specs import mode_of
from services.cluster.model.objects import Service, UpdateStatus
from services.cluster.model.specs import ServiceSpec
from services.cluster.model.task_spec import ContainerSpec
from services.cluster.model.wire import utc_now
from services.errors import InvalidParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What comes beside a spec.

    `registry_auth` is the X-Registry-Auth header; "" for an update keeps that of the spec that
    `registry_auth_from` names ("spec", "previous-spec"). `pins_digest`: the registry is asked for
    the image's digest. `rollback` is "", "none" or "previous".
    """

    registry_auth: str = ""
    registry_auth_from: str = ""
    pins_digest: bool = False
    rollback: str = ""


def rolled_back(service: Service) -> Service:
    """The service as it was before its last update; the two specs change places.

    The spec that is back has a number of its own: the tasks that the roll back makes, and their
    failures, are told from those of its first time.

    Raises:
        InvalidParameter: there was none.
    """
    if service.previous_spec is None:
        raise precondition(f"service {service.id} does not have a previous spec")
    return replace(
        service,
        spec=service.previous_spec,
        spec_version=_next_version(service),
        previous_spec=service.spec,
        previous_spec_version=service.spec_version,
        update_status=UpdateStatus(
            state="rollback_started",
            message="manually requested rollback",
            started_at=utc_now(),
        ),
    )


def moved(service: Service, spec: ServiceSpec) -> Service:
    """The service with a new spec. Its number is new too, also after a roll back."""
    return replace(
        service,
        spec=spec,
        spec_version=_next_version(service),
        previous_spec=service.spec,
        previous_spec_version=service.spec_version,
        update_status=None,
    )


def _next_version(service: Service) -> int:
    return max(service.spec_version, service.previous_spec_version) + 1


def counted(service: Service) -> Service:
    """A job begins anew with each change."""
    job = service.job_status
    if job is None:
        return service
    again = replace(job, iteration=job.iteration + 1, last_execution=utc_now())
    return replace(service, job_status=again)


def container_of(spec: ServiceSpec) -> ContainerSpec:
    """What its tasks run; of a spec that `check_service` has let pass."""
    container = spec.task_template.container_spec
    assert container is not None
    return container


def with_kept_auth(
    service: Service, container: ContainerSpec, options: ServiceOptions
) -> ContainerSpec:
    """`container` with the credentials that come with it, or those of a spec before.

    Raises:
        InvalidParameter: there is no such spec.
    """
    auth = options.registry_auth
    if not auth:
        match options.registry_auth_from:
            case "" | "spec":
                source = service.spec
            case "previous-spec":
                if service.previous_spec is None:
                    raise InvalidParameter("service does not have a previous spec")
                source = service.previous_spec
            case _:
                raise InvalidParameter("unsupported registryAuthFrom value")
        auth = container_of(source).registry_auth
    return replace(container, registry_auth=auth)


def check_change(before: ServiceSpec, after: ServiceSpec) -> None:
    """What an update cannot change.

    Raises:
        NotSupported: name, mode, or networks where they were written of old.
    """
    networks_moved = before.networks != after.networks
    if networks_moved and before.task_template.networks == after.task_template.networks:
        raise unimplemented("networks must be migrated to TaskSpec before being changed")
    if mode_of(before.mode) != mode_of(after.mode):
        raise unimplemented("service mode change is not allowed")
    if before.name != after.name:
        raise unimplemented("renaming services is not supported")
