"""What a service's spec of an older API means today, row by row.

Source: moby, daemon/server/router/swarm/helpers.go (adjustForAPIVersion).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec.structs import replace

from services.api.versions.version import ApiVersion
from services.cluster.model.specs import ServiceMode, ServiceSpec
from services.cluster.model.task_spec import ContainerSpec
from services.containers.config import HealthConfig, Mount, TmpfsOptions

Change = Callable[[ServiceSpec], ServiceSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """In force to the version before `below`."""

    what: str
    change: Change
    below: ApiVersion
    since: None = None  # they all reach back to the oldest version


def adapted_service(spec: ServiceSpec, version: ApiVersion) -> ServiceSpec:
    """The spec as the present version would say it."""
    for row in SERVICE_ROWS:
        if version < row.below:
            spec = row.change(spec)
    return spec


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _in_container(change: Callable[[ContainerSpec], ContainerSpec]) -> Change:
    """A change of the container in a spec's template, if it has one."""

    def changed(spec: ServiceSpec) -> ServiceSpec:
        task = spec.task_template
        if task.container_spec is None:
            return spec
        container = change(task.container_spec)
        return replace(spec, task_template=replace(task, container_spec=container))

    return changed


def _passed_over(*names: str) -> Change:
    """Members of the container at their defaults."""
    return _in_container(
        partial(replace, **{name: getattr(ContainerSpec(), name) for name in names})
    )


def _without_tmpfs_options(container: ContainerSpec) -> ContainerSpec:
    return replace(container, mounts=[_plain_tmpfs(mount) for mount in container.mounts])


def _plain_tmpfs(mount: Mount) -> Mount:
    tmpfs = mount.tmpfs_options
    if tmpfs is None:
        return mount
    return replace(mount, tmpfs_options=replace(tmpfs, options=TmpfsOptions().options))


def _without_config_targets(container: ContainerSpec) -> ContainerSpec:
    configs = [replace(one, runtime=None) for one in container.configs]
    privileges = container.privileges
    if privileges is not None and privileges.credential_spec is not None:
        kept = {name: v for name, v in privileges.credential_spec.items() if name != "Config"}
        privileges = replace(privileges, credential_spec=kept)
    return replace(container, configs=configs, privileges=privileges)


def _without_profiles(container: ContainerSpec) -> ContainerSpec:
    if container.privileges is None:
        return container
    bare = replace(container.privileges, seccomp=None, app_armor=None, no_new_privileges=False)
    return replace(container, privileges=bare)


def _without_start_interval(container: ContainerSpec) -> ContainerSpec:
    check: HealthConfig | None = container.health_check
    return replace(container, health_check=replace(check, start_interval=0) if check else None)


def _without_max_replicas(spec: ServiceSpec) -> ServiceSpec:
    placement = spec.task_template.placement
    if placement is None:
        return spec
    task = replace(spec.task_template, placement=replace(placement, max_replicas=0))
    return replace(spec, task_template=task)


def _without_pids(spec: ServiceSpec) -> ServiceSpec:
    resources = spec.task_template.resources
    if resources is None or resources.limits is None:
        return spec
    limited = replace(resources, limits=replace(resources.limits, pids=0))
    return replace(spec, task_template=replace(spec.task_template, resources=limited))


def _without_jobs(spec: ServiceSpec) -> ServiceSpec:
    mode: ServiceMode = replace(spec.mode, replicated_job=None, global_job=None)
    return replace(spec, mode=mode)


SERVICE_ROWS: Final = (
    ServiceRow(what="no Sysctls", below=_v(40), change=_passed_over("sysctls")),
    ServiceRow(
        what="no configs as credential specs",
        below=_v(40),
        change=_in_container(_without_config_targets),
    ),
    ServiceRow(what="no MaxReplicas", below=_v(40), change=_without_max_replicas),
    ServiceRow(
        what="no capabilities, no ulimits",
        below=_v(41),
        change=_passed_over("capability_add", "capability_drop", "ulimits"),
    ),
    ServiceRow(what="no limit of processes", below=_v(41), change=_without_pids),
    ServiceRow(what="no jobs", below=_v(41), change=_without_jobs),
    ServiceRow(
        what="no seccomp and AppArmor profiles, no NoNewPrivileges",
        below=_v(44),
        change=_in_container(_without_profiles),
    ),
    ServiceRow(
        what="no StartInterval", below=_v(44), change=_in_container(_without_start_interval)
    ),
    ServiceRow(what="no OomScoreAdj", below=_v(46), change=_passed_over("oom_score_adj")),
    ServiceRow(
        what="no options of tmpfs mounts",
        below=_v(46),
        change=_in_container(_without_tmpfs_options),
    ),
)
