"""From a task to what is asked of the containers service. Pure.

Source: moby, daemon/cluster/executor/container/container.go, validate.go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any, Final

import msgspec

from services.cluster.agent.expansion import expand_spec
from services.cluster.agent.holdings import is_predefined
from services.cluster.agent.host_config_label import with_label
from services.cluster.model.objects import ClusterNetwork, NetworkAttachment, NodeDescription, Task
from services.cluster.model.specs import PortConfig
from services.cluster.model.task_spec import (
    ContainerSpec,
    GenericResource,
    LogDriver,
    Privileges,
    ResourceRequirements,
)
from services.containers.config import (
    ContainerConfig,
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    LogConfig,
    Mount,
    NetworkingConfig,
    PortBinding,
)
from services.containers.definitions import CreateRequest
from services.errors import InvalidParameter
from services.images.reference import parse_reference

LABEL_PREFIX: Final = "com.docker.swarm."
NODE_LOCAL: Final = frozenset(("host", "bridge", "none"))

_MOUNT_TYPES: Final = frozenset(("bind", "volume", "tmpfs", "image"))
_NANO: Final = 10**9


def create_request(
    task: Task,
    node: NodeDescription,
    networks: Mapping[str, ClusterNetwork],
    *,
    default_log_driver: LogDriver | None = None,
) -> CreateRequest:
    """The container of a task. `networks` are the cluster's by id; others are the node's own.

    Raises:
        InvalidParameter: what no container can be: no image, a broken template, a wrong mount.
    """
    if task.spec.container_spec is None:
        raise InvalidParameter("task runtime is unsupported")
    spec = expand_spec(task, node)
    if not spec.image:
        raise InvalidParameter("dockerexec: image required")
    check_mounts(spec.mounts)
    ports = host_ports(task)
    host = _host_config(task, spec, ports, default_log_driver)
    mode = _network_mode(task, networks)
    host = with_label(msgspec.structs.replace(host, network_mode=mode), spec.labels)
    return CreateRequest(
        config=_config(task, spec, ports),
        host_config=host,
        networking=_networking(task, networks) if not mode else NetworkingConfig(),
        name=task.name,
    )


def check_mounts(mounts: list[Mount]) -> None:
    """Refuse mounts that the API for containers would take for something else.

    Raises:
        InvalidParameter: dockerd's words.
    """
    for mount in mounts:
        if not mount.target.startswith("/"):
            raise InvalidParameter(
                f"invalid mount target, must be an absolute path: {mount.target}"
            )
        is_path = mount.source.startswith("/")
        match mount.type:
            case "bind" if not is_path:
                raise InvalidParameter(
                    f"invalid bind mount source, must be an absolute path: {mount.source}"
                )
            case "volume" if is_path:
                raise InvalidParameter(
                    f"invalid volume mount source, must not be an absolute path: {mount.source}"
                )
            case "tmpfs" if mount.source:
                raise InvalidParameter("invalid tmpfs source, source must be empty")
            case kind if kind not in _MOUNT_TYPES:
                raise InvalidParameter(f"invalid mount type: {kind}")


def host_ports(task: Task) -> list[PortConfig]:
    """The ports that the node itself publishes for the task."""
    ports = task.endpoint.ports if task.endpoint is not None else []
    return [port for port in ports if port.publish_mode == "host"]


def task_labels(task: Task, spec: ContainerSpec) -> dict[str, str]:
    """The container's labels; those of the system win."""
    system = {
        "task": "",
        "task.id": task.id,
        "task.name": task.name,
        "node.id": task.node_id,
        "service.id": task.service_id,
        "service.name": task.service_name,
    }
    return {**spec.labels, **{f"{LABEL_PREFIX}{name}": text for name, text in system.items()}}


def image_of(text: str) -> str:
    """An image's name as people write it, with a tag if it has neither tag nor digest."""
    try:
        return parse_reference(text).tagged().familiar
    except InvalidParameter:
        return text  # an image's id, say


def resource_env(resources: list[GenericResource]) -> list[str]:
    """DOCKER_RESOURCE_KIND=value,value for each kind that the task was given."""
    found: dict[str, list[str]] = {}
    for resource in resources:
        if named := resource.named_resource_spec:
            found.setdefault(named.kind, []).append(named.value)
        elif discrete := resource.discrete_resource_spec:
            found.setdefault(discrete.kind, []).append(str(discrete.value))
    return [f"DOCKER_RESOURCE_{kind.upper()}={','.join(found[kind])}" for kind in sorted(found)]


def _config(task: Task, spec: ContainerSpec, ports: list[PortConfig]) -> ContainerConfig:
    changes: dict[str, Any] = {}
    if ports:
        changes["exposed_ports"] = {_port_key(port): {} for port in ports}
    if spec.health_check is not None:
        changes["healthcheck"] = spec.health_check
    if spec.stop_signal:
        changes["stop_signal"] = spec.stop_signal
    if spec.stop_grace_period is not None:
        # Beyond dockerd: the container has its time when the daemon ends, too.
        changes["stop_timeout"] = -(-spec.stop_grace_period // _NANO)
    return ContainerConfig(
        image=image_of(spec.image),
        labels=task_labels(task, spec),
        hostname=spec.hostname,
        user=spec.user,
        env=[*spec.env, *resource_env(task.generic_resources)] or None,
        working_dir=spec.dir,
        tty=spec.tty,
        open_stdin=spec.open_stdin,
        entrypoint=spec.command or None,
        cmd=spec.args or None,
        **changes,
    )


def _host_config(
    task: Task, spec: ContainerSpec, ports: list[PortConfig], default_log: LogDriver | None
) -> HostConfig:
    changes: dict[str, Any] = _resource_limits(task.spec.resources)
    if spec.init is not None:
        changes["init"] = spec.init
    if spec.sysctls:
        changes["sysctls"] = spec.sysctls
    if spec.mounts:
        changes["mounts"] = spec.mounts
    if dns := spec.dns_config:
        changes |= {
            "dns": dns.nameservers or None,
            "dns_search": dns.search or None,
            "dns_options": dns.options or None,
        }
    if driver := task.spec.log_driver or default_log:
        changes["log_config"] = LogConfig(type=driver.name, config=driver.options)
    return HostConfig(
        group_add=spec.groups or None,
        port_bindings=_bindings(ports) or None,
        readonly_rootfs=spec.read_only,
        isolation="" if spec.isolation == "default" else spec.isolation,
        cap_add=spec.capability_add or None,
        cap_drop=spec.capability_drop or None,
        ulimits=spec.ulimits or None,
        oom_score_adj=spec.oom_score_adj,
        extra_hosts=_extra_hosts(spec.hosts) or None,
        security_opt=_security(spec.privileges) or None,
        **changes,
    )


def _resource_limits(resources: ResourceRequirements | None) -> dict[str, Any]:
    """What the kernel is to enforce; reservations are the scheduler's affair alone."""
    if resources is None:
        return {}
    found: dict[str, Any] = {}
    if resources.memory_swappiness is not None:
        found["memory_swappiness"] = resources.memory_swappiness
    if (limits := resources.limits) is None:
        return found
    if limits.memory_bytes > 0:
        found["memory"] = limits.memory_bytes
        if (swap := resources.swap_bytes) is not None and swap >= -1:
            found["memory_swap"] = -1 if swap == -1 else limits.memory_bytes + swap
    if limits.nano_cpus > 0:
        found["nano_cpus"] = limits.nano_cpus
    if limits.pids > 0:
        found["pids_limit"] = limits.pids
    return found


def _port_key(port: PortConfig) -> str:
    return f"{port.target_port}/{port.protocol.lower()}"


def _bindings(ports: list[PortConfig]) -> dict[str, list[PortBinding] | None]:
    found: dict[str, list[PortBinding] | None] = {}
    for port in ports:
        text = str(port.published_port) if port.published_port else ""
        found[_port_key(port)] = [*(found.get(_port_key(port)) or ()), PortBinding(host_port=text)]
    return found


def _extra_hosts(entries: list[str]) -> list[str]:
    """From `IP name [alias ...]` to `name:IP`. Beyond dockerd, aliases are names as well."""
    split = [entry.split() for entry in entries]
    return [f"{name}:{words[0]}" for words in split for name in words[1:]]


def _security(privileges: Privileges | None) -> list[str]:
    if privileges is None:
        return []
    options = _selinux(privileges.selinux_context or {})
    if (seccomp := privileges.seccomp) is not None:
        match seccomp.mode:
            case "unconfined":
                options.append("seccomp=unconfined")
            case "custom":
                options.append(f"seccomp={_profile(seccomp.profile)}")
    if privileges.app_armor is not None and privileges.app_armor.mode == "disabled":
        options.append("apparmor=unconfined")
    if privileges.no_new_privileges:
        options.append("no-new-privileges=true")
    return options


def _selinux(context: dict[str, Any]) -> list[str]:
    if context.get("Disable"):
        return ["label=disable"]
    parts = ("User", "Role", "Level", "Type")
    return [f"label={part.lower()}:{context[part]}" for part in parts if context.get(part)]


def _profile(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidParameter("invalid seccomp profile: it is not base64 of JSON") from error


def _network_mode(task: Task, networks: Mapping[str, ClusterNetwork]) -> str:
    """The node's own network that the task is in, such as host; "" for the cluster's."""
    for attachment in task.networks[:1]:
        name = _local_name(attachment, networks)
        if name in NODE_LOCAL:
            return name
    return ""


def _local_name(attachment: NetworkAttachment, networks: Mapping[str, ClusterNetwork]) -> str:
    """What a network of the node itself is called here; "" for one of the cluster."""
    network = networks.get(attachment.network_id)
    if network is None:
        return attachment.network_id
    return network.name if is_predefined(network) else ""


def _networking(task: Task, networks: Mapping[str, ClusterNetwork]) -> NetworkingConfig:
    endpoints: dict[str, EndpointSettings | None] = {}
    for attachment in task.networks:
        network = networks.get(attachment.network_id)
        name = _local_name(attachment, networks) or (network.name if network is not None else "")
        endpoints[name] = _endpoint(attachment)
    return NetworkingConfig(endpoints_config=endpoints)


def _endpoint(attachment: NetworkAttachment) -> EndpointSettings:
    """Without the aliases: those are the service's, and name all of its tasks, not this one."""
    found = {4: "", 6: ""}
    for text in attachment.addresses:
        address = ip_interface(text).ip
        found[address.version] = str(address)
    ipam = EndpointIPAMConfig(ipv4_address=found[4], ipv6_address=found[6])
    return EndpointSettings(
        network_id=attachment.network_id,
        ipam_config=ipam if any(found.values()) else None,
        driver_opts=attachment.driver_opts or None,
    )
