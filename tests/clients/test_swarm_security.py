"""What lies where in a real swarm of two engines, and what a worker's stolen certificate opens.

A secret that a task on the worker has, and one that nobody has: their words must be on no disk and
in no log; the thief, with the worker's files, gets the first one (its tasks need it) and no more.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from lablib.engines import Engine, Lab, wait_for

from protos.generated.cluster import HeartbeatRequest, JoinRequest
from services.cluster.addresses import peer_port
from services.cluster.ca.credentials import CredentialFiles, Credentials
from services.cluster.ca.tokens import new_unlock_key
from services.cluster.model.objects import NodeDescription
from services.cluster.rpc.client import ManagerAddress, open_manager
from services.cluster.rpc.codec import encode_json
from services.cluster.rpc.membership import MemberRequest
from services.cluster.rpc.methods import HEARTBEAT, JOIN
from services.cluster.rpc.remote import RemoteSource
from services.cluster.rpc.remotes import Remotes
from services.cluster.rpc.tls import client_context
from services.errors import Forbidden, Unavailable
from tests.support.managers import Held

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(400)]

OWN, OTHER = "words-that-the-task-needs", "words-that-nobody-needs"
SWARM_PORT = 2377
TRIES = 5


@dataclass(frozen=True)
class Scene:
    """Two engines in a swarm that locks itself, with a service on the worker."""

    manager: Engine
    worker: Engine
    tokens: tuple[str, str]
    unlock_key: str

    @property
    def stolen(self) -> Credentials:
        """The worker's certificate and key, as they lie on its disk."""
        found = CredentialFiles(self.worker.folder / "data/swarm/certificates").load()
        assert found is not None
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Everything is at work in it."""
    folder = tmp_path_factory.mktemp("secrets")
    lab = Lab(2)
    try:
        lab.start()
        lab.load_image()
        lab.make_swarm(1)
        manager, worker = lab.engines
        manager.docker("swarm", "update", "--autolock=true")
        for name, words in (("own", OWN), ("other", OTHER)):
            (folder / name).write_text(words)
            manager.docker("secret", "create", name, str(folder / name))
        manager.docker(
            "service", "create", "--detach", "--name=web", "--secret=own", "--no-resolve-image",
            "--constraint=node.role==worker", "--container-label=of=web",
            "--stop-grace-period=1s", "busybox",
            "sh", "-c", "sha256sum /run/secrets/own && sleep 1000",
        )  # fmt: skip
        wait_for(lambda: "1/1" in manager.docker("service", "ls"), "the service runs", 120)
        yield Scene(
            manager,
            worker,
            (
                manager.docker("swarm", "join-token", "-q", "worker"),
                manager.docker("swarm", "join-token", "-q", "manager"),
            ),
            manager.docker("swarm", "unlock-key", "-q"),
        )
    finally:
        lab.close()


def files_with(folder: Path, *words: str) -> list[Path]:
    """Files below a folder that hold any of these words, as they are or in base64."""
    needles = [word.encode() for word in words]
    needles += [base64.b64encode(needle)[:-4] for needle in needles]
    found = []
    for top, _, names in os.walk(folder):
        for path in (Path(top, name) for name in names):
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes()
                if any(needle in text for needle in needles):
                    found.append(path)
    return found


def test_secrets_lie_on_no_disk_and_in_no_log(scene: Scene) -> None:
    """Neither the worker's (which has one in memory), nor the manager's, whose store has both.

    Each engine's folder holds its state, etcd's files and the daemon's log; what is mounted within
    the engine's own mount namespace, the tasks' secrets, is not seen from here.
    """
    assert "web" in scene.manager.docker("service", "ls")
    for engine in (scene.manager, scene.worker):
        assert files_with(engine.folder, OWN, OTHER) == []


def test_a_locked_managers_disk_holds_no_key_and_no_token(scene: Scene) -> None:
    """Who takes the disk away has nothing to join with, to sign with or to unseal with."""
    secrets = [token.rpartition("-")[2] for token in scene.tokens]
    unlock = scene.unlock_key.removeprefix("SWMKEY-1-")
    assert files_with(scene.manager.folder, unlock, *secrets) == []
    keys = files_with(
        scene.manager.folder / "data/swarm", "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"
    )
    assert keys == []


def test_what_is_shown_holds_no_secret(scene: Scene) -> None:
    """Of the secret, the service, the task and its container; nor what the task has printed."""
    task = scene.manager.docker("service", "ps", "-q", "web")
    container = scene.worker.docker("ps", "-q", "--filter", "label=of=web")
    shown = [
        scene.manager.docker("secret", "inspect", "own", "other"),
        scene.manager.docker("service", "inspect", "web"),
        scene.manager.docker("inspect", "--type=task", task),
        scene.worker.docker("inspect", container),
        scene.manager.docker("service", "logs", "web"),
    ]
    words = (OWN, OTHER, base64.b64encode(OWN.encode()).decode())
    assert [text for text in shown if any(word in text for word in words)] == []


async def test_a_stolen_certificate_gets_what_its_tasks_need(scene: Scene) -> None:
    """The task's own secret is among that, and nothing else of what the store keeps."""
    told: list[Any] = []
    remotes = Remotes([f"{scene.manager.host.address}:{SWARM_PORT}"])
    own = base64.b64encode(OWN.encode())
    for _ in range(TRIES):
        with suppress(Unavailable):
            source = RemoteSource(Held(scene.stolen), remotes)
            async with source.session(NodeDescription()) as session:
                # The worker itself comes back soon, and ends the thief's session with its own.
                with trio.move_on_after(20):
                    while own not in msgspec.json.encode(told):
                        told.append(await session.receive())
                with trio.move_on_after(1):
                    while True:
                        told.append(await session.receive())
        if own in msgspec.json.encode(told):
            break
    text = msgspec.json.encode(told).decode()
    assert own.decode() in text
    assert base64.b64encode(OTHER.encode()).decode() not in text
    assert '"other"' not in text
    assert "PRIVATE KEY" not in text
    assert not any(token.rpartition("-")[2] in text for token in scene.tokens)


async def test_a_stolen_certificate_is_no_way_into_the_store(scene: Scene) -> None:
    """Not as a member, which would get the data key."""
    address = ManagerAddress(scene.manager.host.address, SWARM_PORT)
    request = MemberRequest(peer_url="https://192.0.2.1:7946", addr="192.0.2.1:2377")
    async with open_manager(address, client_context(scene.stolen)) as calls:
        with pytest.raises(Forbidden, match="managers only"):
            await calls.call(JOIN, JoinRequest(json=encode_json(request)))


def test_a_stolen_certificate_is_refused_at_etcds_port(scene: Scene) -> None:
    """By TLS already; and there is no other port of etcd's."""
    host, port = scene.manager.host.address, peer_port(SWARM_PORT)
    context = client_context(scene.stolen)
    context.set_alpn_protocols(["http/1.1"])
    context.check_hostname = False
    with pytest.raises((OSError, http.client.HTTPException)):  # noqa: SIM117
        with socket.create_connection((host, port), timeout=5) as raw:
            with context.wrap_socket(raw) as stream:
                stream.sendall(b"GET /members HTTP/1.1\r\nHost: x\r\n\r\n")
                if answer := stream.recv(100):
                    pytest.fail(f"etcd has answered: {answer!r}")
                raise ssl.SSLError("ended without an answer")
    for closed in (2379, 2380, 4001):
        with pytest.raises(OSError):
            socket.create_connection((host, closed), timeout=5)


async def test_once_the_root_was_replaced_the_stolen_certificate_opens_nothing(
    scene: Scene,
) -> None:
    """Nor does the old token; the worker has a certificate of the new root, and works on.

    It changes the scene, and stands behind those that do not.
    """
    stolen = scene.stolen
    root = scene.manager.docker("swarm", "ca")
    scene.manager.docker("swarm", "ca", "--rotate", "--quiet", limit_s=90.0)
    assert scene.manager.docker("swarm", "ca") != root
    assert scene.manager.docker("swarm", "join-token", "-q", "worker") != scene.tokens[0]
    address = ManagerAddress(scene.manager.host.address, SWARM_PORT)
    with pytest.raises(Unavailable):
        async with open_manager(address, client_context(stolen)) as calls:
            await calls.call(HEARTBEAT, HeartbeatRequest(session_id="x"))
    states = ("node", "ls", "--format", "{{.Status}}")
    wait_for(lambda: scene.manager.docker(*states).split() == ["Ready"] * 2, "both are there", 60)
    wait_for(lambda: "1/1" in scene.manager.docker("service", "ls"), "the service runs", 60)
    with trio.fail_after(60):  # the worker's file is written by the time it is counted, or soon
        while scene.stolen.roots == stolen.roots:
            await trio.sleep(0.1)


def unlock(engine: Engine, key: str) -> str:
    """What `docker swarm unlock` says; it reads the key from its input."""
    done = subprocess.run(
        ["docker", "swarm", "unlock"],
        input=f"{key}\n",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"},
    )
    return done.stderr


def test_a_locked_manager_starts_with_the_key_and_not_without(scene: Scene) -> None:
    """It says so to whoever asks for anything; tasks elsewhere run on meanwhile."""
    before = scene.worker.docker("ps", "-q")
    scene.manager.stop()
    scene.manager.start()
    scene.manager.wait_answering()
    with pytest.raises(RuntimeError, match="Swarm is encrypted and needs to be unlocked"):
        scene.manager.docker("node", "ls")
    assert "invalid key" in unlock(scene.manager, new_unlock_key())
    assert unlock(scene.manager, scene.unlock_key) == ""
    wait_for(lambda: "1/1" in (scene.manager.try_docker("service", "ls") or ""), "it is back", 60)
    assert scene.worker.docker("ps", "-q") == before
