"""Reads what an OCI spec needs of the host and the image, and has it built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from services.containerd import Mount
from services.containers import spec
from services.containers.apparmor import DEFAULT_PROFILE
from services.containers.cdi import CdiDevices
from services.containers.container import Container
from services.containers.execs.exec import ExecConfig
from services.containers.files import files_in, hosts_text, write_files
from services.containers.joining import Joined
from services.containers.networking.links import Linked, Links
from services.containers.networking.naming import ResolvConfs
from services.containers.realtime import RealtimeShare
from services.containers.spec import (
    MountPoint,
    NamespacePaths,
    NetworkFiles,
    SpecDefaults,
    SpecInputs,
)
from services.containers.spec.values import Json
from services.errors import EngineError, InvalidParameter
from services.networks import Sandbox
from services.system import HostFacts


class DefaultProfile(Protocol):
    """What containers' processes need of AppArmor."""

    def ensure(self) -> None:
        """Load the default profile unless the kernel has it. Blocks. Raises EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run stands on besides its files.

    Without a `sandbox` it is in the network of another container, and has its files. `mounts` are
    the container's, with their sources.
    """

    joined: Joined
    linked: Linked
    sandbox: Sandbox | None = None
    mounts: Sequence[MountPoint] = ()


class SpecSource:
    """Builds the runtime's documents for containers and their execs."""

    def __init__(
        self,
        *,
        facts: HostFacts,
        defaults: Callable[[], SpecDefaults],
        directory: Path,
        resolv_confs: ResolvConfs,
        host_gateways: Callable[[], Sequence[str]],
        links: Links,
        apparmor: DefaultProfile,
        cdi: CdiDevices,
        realtime: RealtimeShare,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`defaults` and `dns` are asked for each document: a reload changes them."""
        self._facts = facts
        self._defaults = defaults
        self._directory = directory
        self._resolv_confs = resolv_confs
        self._host_gateways = host_gateways
        self._links = links
        self._apparmor = apparmor
        self._cdi = cdi
        self._realtime = realtime
        self._disk = disk

    async def container_spec(
        self,
        container: Container,
        rootfs: Sequence[Mount],
        around: Surroundings,
    ) -> bytes:
        """The config.json of a container that is about to start.

        Raises:
            EngineError: its user is not in the image, or a device not on the host.
        """
        build = partial(self._build, container, rootfs, around)
        try:
            return await trio.to_thread.run_sync(build, limiter=self._disk)
        except InvalidParameter as error:
            # What could be told from the request alone was refused at the create; this is about
            # the host or the image, and dockerd's status for it is 500.
            raise EngineError(str(error)) from error

    async def exec_process(self, container: Container, config: ExecConfig) -> bytes:
        """The process of an exec, its user looked up in the running container."""
        link_env = self._links.at_exec(container)
        return await trio.to_thread.run_sync(
            partial(self._build_exec, container, config, link_env), limiter=self._disk
        )

    def _build(self, container: Container, rootfs: Sequence[Mount], around: Surroundings) -> bytes:
        definition = container.definition
        config, host = definition.config, definition.host_config
        accounts = spec.read_account_files(rootfs)
        user = spec.resolve_user(config.user, accounts, host.group_add or ())
        spec.make_bind_sources(around.mounts)
        spec.check_propagation(around.mounts)
        inputs = SpecInputs(
            container_id=container.id,
            args=(definition.path, *definition.args),
            config=config,
            host_config=host,
            facts=self._facts,
            user=user,
            mounts=tuple(around.mounts),
            files=self._files(container, around),
            namespaces=_namespaces(around.sandbox, around.joined),
            shm_path=around.joined.shm_path,
            link_env=around.linked.env,
            devices=spec.read_host_devices(host),
            defaults=self._defaults(),
        )
        self._realtime.grant(spec.parent_cgroup(inputs))
        whole = spec.build_spec(inputs)
        self._cdi.inject(whole, host.device_requests or ())
        self._confine(whole["process"])
        return msgspec.json.encode(whole)

    def _build_exec(
        self, container: Container, config: ExecConfig, link_env: Sequence[str]
    ) -> bytes:
        definition = container.definition
        accounts = spec.read_account_files_in(Path(f"/proc/{container.status.pid}/root"))
        user = spec.resolve_user(
            config.user or definition.config.user,
            accounts,
            definition.host_config.group_add or (),
        )
        process = spec.build_exec_process(
            args=config.cmd or [],
            config=definition.config,
            host_config=definition.host_config,
            facts=self._facts,
            defaults=self._defaults(),
            user=user,
            env=config.env or (),
            cwd=config.working_dir,
            tty=config.tty,
            privileged=config.privileged,
            rows_columns=config.console_size or (0, 0),
            link_env=link_env,
        )
        self._confine(process)
        return msgspec.json.encode(process)

    def _files(self, container: Container, around: Surroundings) -> NetworkFiles:
        if around.sandbox is None:
            return files_in(self._directory / around.joined.files_of)
        return self._write_files(container, around.sandbox, around.linked)

    def _confine(self, process: Json) -> None:
        """A profile that the kernel has lost since the start is loaded again, or nothing starts."""
        if process.get("apparmorProfile") == DEFAULT_PROFILE:
            self._apparmor.ensure()

    def _write_files(self, container: Container, sandbox: Sandbox, linked: Linked) -> NetworkFiles:
        config = container.definition.config
        host = container.definition.host_config
        is_host = any(endpoint.driver == "host" for endpoint in sandbox.endpoints)
        gateways = self._host_gateways()
        if not gateways and any(e.endswith("host-gateway") for e in host.extra_hosts or ()):
            raise EngineError("unable to derive the IP value for host-gateway")
        hosts = hosts_text(
            hostname=config.hostname,
            domainname=config.domainname,
            addresses=[
                address
                for endpoint in sandbox.endpoints
                if not endpoint.is_way_out_only
                for address in (endpoint.address, endpoint.address6)
                if address
            ],
            extra=host.extra_hosts or (),
            host_gateways=gateways,
            linked=[(host.address, host.names) for host in linked.hosts],
        )
        if is_host and not host.extra_hosts:
            hosts = Path("/etc/hosts").read_text(errors="replace")
        return write_files(
            self._directory / container.id,
            hostname=config.hostname,
            hosts=hosts,
            resolv_conf=self._resolv_confs.of(host, sandbox.endpoints).text,
        )


def _namespaces(sandbox: Sandbox | None, joined: Joined) -> NamespacePaths:
    if sandbox is None:
        return joined.namespaces
    return dataclasses.replace(joined.namespaces, network=str(sandbox.netns or ""))
