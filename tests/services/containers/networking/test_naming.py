"""Names of running containers: what the DNS and the files are told, and when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from services.containers.config import ContainerConfig, EndpointSettings, HostConfig
from services.containers.container import Container
from services.containers.files import write_files
from services.containers.model import ContainerId, Definition, State, Status
from services.containers.model import Place as NetworkPlace
from services.containers.networking.hosts_file import HostsFiles
from services.containers.networking.naming import Naming, ResolvConfs
from services.containers.networking.resolv_conf import Wishes
from services.containers.networking.settings import settings_of
from services.errors import EngineError
from services.networks import Endpoint
from services.networks.dns import NameBook, Resolver

ID = "abcdef012345" + "0" * 52
DEFAULT = Endpoint(
    network="bridge", network_id="n0", endpoint_id="e0", address="172.17.0.2", gateway="172.17.0.1"
)
USER = Endpoint(
    network="net",
    network_id="n1",
    endpoint_id="e1",
    address="10.0.0.2",
    address6="fd00::2",
    gateway="10.0.0.1",
)
INTERNAL = Endpoint(network="in", network_id="n2", endpoint_id="e2", address="10.2.0.2")


class FakeDns:
    """Remembers who is served, and by which resolvers."""

    def __init__(self) -> None:
        self.names = NameBook()
        self.resolvers: dict[str, Sequence[Resolver]] = {}
        self.works = True

    @property
    def served(self) -> frozenset[str]:
        return frozenset(self.resolvers)

    async def serve(
        self,
        container_id: str,
        namespace: Path,
        *,
        resolvers: Sequence[Resolver],
        keeps_short_names: bool = False,
    ) -> None:
        """It is served, if it can be."""
        assert namespace == Path("/ns")
        assert not keeps_short_names
        if not self.works:
            raise EngineError("no such namespace")
        self.resolvers[container_id] = resolvers

    def stop(self, container_id: str) -> None:
        """It is not."""
        self.resolvers.pop(container_id, None)


class Scene:
    """A container with its files, and the DNS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ID
        self.folder.mkdir()
        write_files(self.folder, hostname="h", hosts="127.0.0.1\tlocalhost\n", resolv_conf="old\n")
        self.dns = FakeDns()
        disk = trio.CapacityLimiter(1)
        self.naming = Naming(
            dns=self.dns,
            hosts=HostsFiles(directory=folder, disk=disk),
            resolv_confs=ResolvConfs(lambda: Wishes(servers=["9.9.9.9"])),
            directory=folder,
            disk=disk,
        )
        asked = EndpointSettings(aliases=["w"], links=["postgres:db"])
        definition = Definition(
            id=ContainerId(ID),
            name="web",
            created_at_ns=0,
            config=ContainerConfig(hostname="h", domainname="x"),
            host_config=HostConfig(),
            path="sh",
            args=[],
            image_id="",
            runtime="runc",
            networks={"net": asked, "bridge": EndpointSettings()},
        )
        self.container = Container(definition, Status())

    def runs_in(self, *endpoints: Endpoint) -> None:
        """The container is recorded as running there."""
        asked = self.container.definition.networks
        self.container.status = Status(
            state=State.RUNNING,
            networks={
                e.network: settings_of(asked.get(e.network, EndpointSettings()), e)
                for e in endpoints
            },
            places={e.network: NetworkPlace(driver=e.driver) for e in endpoints},
        )

    def found(self, name: str) -> list[str]:
        """What the container itself finds."""
        return [str(one) for one in self.dns.names.addresses(ID, name) or ()]

    def text(self, name: str) -> str:
        """One of its files."""
        return (self.folder / name).read_text()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A container that does not run yet."""
    return Scene(tmp_path)


async def test_one_that_starts_on_a_user_network_is_found_and_answered(scene: Scene) -> None:
    """Under all of its names, with its links; until it ends."""
    await scene.naming.begin(scene.container, [USER], Path("/ns"))
    for name in ("web", "w", "h", ID[:12], "web.net"):
        assert scene.found(name) == ["10.0.0.2", "fd00::2"], name
    assert scene.dns.resolvers == {ID: (Resolver("9.9.9.9", from_host=False),)}
    assert scene.found("db") == []
    scene.naming.end(ID)
    assert scene.found("web") == []
    assert scene.dns.served == frozenset()


async def test_on_the_default_bridge_nobody_has_a_name(scene: Scene) -> None:
    """And nobody is answered; without a namespace there is nothing to do at all."""
    await scene.naming.begin(scene.container, [DEFAULT], Path("/ns"))
    assert scene.found("web") == []
    assert scene.dns.served == frozenset()
    await scene.naming.begin(scene.container, [USER], None)
    assert scene.dns.served == frozenset()


async def test_a_start_goes_on_where_it_cannot_be_answered(scene: Scene) -> None:
    """As under dockerd; it is answered as soon as that can be done, if it still runs then."""
    scene.dns.works = False
    await scene.naming.begin(scene.container, [USER], Path("/ns"))
    assert not scene.naming.lacks_answers(scene.container)  # it does not run yet
    scene.runs_in(USER)
    assert scene.naming.lacks_answers(scene.container)
    with pytest.raises(EngineError, match="no such namespace"):
        await scene.naming.answer(scene.container, Path("/ns"))
    scene.dns.works = True
    await scene.naming.answer(scene.container, Path("/ns"))
    assert scene.dns.served == {ID}
    assert not scene.naming.lacks_answers(scene.container)
    scene.naming.end(ID)
    scene.container.status = Status(state=State.EXITED)
    await scene.naming.answer(scene.container, Path("/ns"))
    assert scene.dns.served == frozenset()


async def test_the_first_user_network_brings_the_server(scene: Scene) -> None:
    """With the file that names it; and a line in hosts, which goes with the network."""
    scene.runs_in(DEFAULT, USER)
    await scene.naming.connected(scene.container, USER, Path("/ns"))
    assert scene.dns.served == {ID}
    assert "nameserver 127.0.0.11\n" in scene.text("resolv.conf")
    assert scene.text("hosts").endswith("10.0.0.2\th.x h\nfd00::2\th.x h\n")
    await scene.naming.disconnected(scene.container, USER)
    assert scene.text("hosts") == "127.0.0.1\tlocalhost\n"
    assert scene.found("web") == []
    assert scene.dns.served == {ID}


async def test_a_file_that_was_edited_is_left_alone(scene: Scene) -> None:
    """Also where it was written before there was a sum of it."""
    (scene.folder / "resolv.conf").write_text("mine\n")
    scene.runs_in(DEFAULT, USER)
    await scene.naming.connected(scene.container, USER, Path("/ns"))
    assert scene.text("resolv.conf") == "mine\n"


async def test_one_that_runs_goes_on_without_the_server(scene: Scene) -> None:
    """As under dockerd; the log says so."""
    scene.dns.works = False
    scene.runs_in(USER)
    await scene.naming.connected(scene.container, USER, Path("/ns"))
    await scene.naming.adopt(scene.container, Path("/ns"))
    assert scene.dns.served == frozenset()


async def test_an_adopted_one_is_found_before_it_is_answered(scene: Scene) -> None:
    """And has the line in hosts that a kill has cut off, once."""
    scene.runs_in(USER)
    scene.naming.note(scene.container)
    assert scene.found("web") == ["10.0.0.2", "fd00::2"]
    for _ in range(2):
        await scene.naming.adopt(scene.container, Path("/ns"))
    assert scene.text("hosts").count("10.0.0.2\th.x h\n") == 1
    assert scene.dns.served == {ID}


async def test_a_renamed_one_is_called_so_from_now_on(scene: Scene) -> None:
    """If it runs."""
    scene.runs_in(USER)
    scene.naming.note(scene.container)
    definition = msgspec.structs.replace(scene.container.definition, name="shop")
    scene.container.definition = definition
    scene.naming.renamed(scene.container)
    assert scene.found("web") == []
    assert scene.found("shop") == ["10.0.0.2", "fd00::2"]
    scene.naming.end(ID)
    scene.container.status = Status()
    scene.naming.renamed(scene.container)
    assert scene.found("shop") == []


async def test_an_internal_network_is_no_way_out(scene: Scene) -> None:
    """The default bridge is one, though it has no names."""
    await scene.naming.begin(scene.container, [INTERNAL], Path("/ns"))
    assert not scene.dns.names.leads_out(ID)
    await scene.naming.begin(scene.container, [INTERNAL, DEFAULT], Path("/ns"))
    assert scene.dns.names.leads_out(ID)
