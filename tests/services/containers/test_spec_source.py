"""What building a runtime's documents asks of the host."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import trio

from services.containers.apparmor import DEFAULT_PROFILE
from services.containers.cdi import CdiDevices
from services.containers.config import ContainerConfig, HostConfig
from services.containers.container import Container
from services.containers.execs.exec import ExecConfig
from services.containers.model import ContainerId, Definition, State, Status
from services.containers.networking.hosts_file import HostsFiles
from services.containers.networking.links import Links
from services.containers.networking.naming import ResolvConfs
from services.containers.networking.resolv_conf import Wishes
from services.containers.realtime import RealtimeShare
from services.containers.spec import SpecDefaults, adapt_host_config
from services.containers.spec_source import SpecSource
from services.containers.table import ContainerTable
from services.errors import EngineError
from services.system import HostFacts

FACTS = HostFacts(apparmor=True)


class Kernel:
    """AppArmor's side: counts who asks for the default profile, or cannot load it."""

    def __init__(self) -> None:
        self.asked = 0
        self.works = True

    def ensure(self) -> None:
        """The profile is asked for."""
        self.asked += 1
        if not self.works:
            raise EngineError("no parser")


def exec_builder(tmp_path: Path, kernel: Kernel) -> Callable[..., Awaitable[object]]:
    """A function that builds the process of an exec in a container with these options."""
    disk = trio.CapacityLimiter(1)
    source = SpecSource(
        facts=FACTS,
        defaults=SpecDefaults,
        directory=tmp_path,
        resolv_confs=ResolvConfs(Wishes),
        host_gateways=tuple,
        links=Links(ContainerTable(), hosts=HostsFiles(directory=tmp_path, disk=disk)),
        apparmor=kernel,
        cdi=CdiDevices(tuple),
        realtime=RealtimeShare(cgroup=FACTS.cgroup),
        disk=disk,
    )

    async def build(options: list[str] | None = None, *, privileged: bool = False) -> object:
        host = HostConfig(security_opt=options, privileged=privileged)
        definition = Definition(
            id=ContainerId("a" * 64),
            name="a",
            created_at_ns=0,
            config=ContainerConfig(),
            host_config=adapt_host_config(host, FACTS, SpecDefaults()),
            path="sh",
            args=[],
            image_id="",
            runtime="runc",
        )
        status = Status(state=State.RUNNING, pid=os.getpid())
        data = await source.exec_process(Container(definition, status), ExecConfig(cmd=["true"]))
        return msgspec.json.decode(data).get("apparmorProfile")

    return build


async def test_the_default_profile_is_there_before_it_is_used(tmp_path: Path) -> None:
    """Another one is its owner's affair."""
    kernel = Kernel()
    build = exec_builder(tmp_path, kernel)
    assert await build() == DEFAULT_PROFILE
    assert kernel.asked == 1
    assert await build(["apparmor=mine"]) == "mine"
    assert await build(privileged=True) == "unconfined"
    assert kernel.asked == 1


async def test_nothing_runs_without_the_profile_that_it_should_have(tmp_path: Path) -> None:
    """The error goes to the client."""
    kernel = Kernel()
    kernel.works = False
    build = exec_builder(tmp_path, kernel)
    with pytest.raises(EngineError, match="no parser"):
        await build()
    assert await build(["apparmor=unconfined"]) == "unconfined"
