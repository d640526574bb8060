"""Registries with the real clients: login, push, pull, run; and kill -9 in the middle."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protos.generated.moby.buildkit.v1 import Exporter
from tests.services.images.archives import busybox_layer
from tests.services.registry.conftest import LAYER_BYTES, plain_layer, put_plain
from tests.support.broken_http import Fault, FaultProxy, Seen, fault_proxy
from tests.support.buildkit_client import BuildKitClient, Offer
from tests.support.certificates import make_certificates
from tests.support.daemon import Daemon, running_daemon, wait_until
from tests.support.fixtures import DaemonFactory
from tests.support.registry import (
    DOCKER_LAYER,
    PASSWORD,
    USER,
    TestRegistry,
    require_registry,
    running_registry,
)

pytestmark = [pytest.mark.engine, pytest.mark.clients]

LIMIT_S = 120.0


@pytest.fixture(scope="module")
def local() -> Iterator[Daemon]:
    """A daemon for the tests here, without images."""
    require_registry()
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def locked(local: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRegistry]:
    """A registry with TLS and passwords on an address that is not loopback; its CA is known."""
    address = local.bridge.address
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"), address)
    pair = (certificates / "server-cert.pem", certificates / "server-key.pem")
    with running_registry(
        tmp_path_factory.mktemp("locked"), address=address, certificate=pair, passwords=True
    ) as registry:
        folder = local.folder / "certs.d" / registry.host
        folder.mkdir(parents=True)
        shutil.copy(certificates / "ca.pem", folder / "ca.crt")
        yield registry


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[TestRegistry]:
    """A registry without TLS on loopback."""
    with running_registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def slow(plain: TestRegistry) -> Iterator[FaultProxy]:
    """The same one behind a proxy that lets layers trickle."""
    with fault_proxy(plain.host) as proxy:
        proxy.judge = lambda seen, _before: Fault(pause_s=0.05) if seen.is_layer else None
        yield proxy


def stored(daemon: Daemon) -> dict[str, list[str]]:
    """What containerd holds, by kind, after its collector has run."""
    sock = daemon.exec_root / "containerd" / "containerd.sock"

    def ctr(*arguments: str) -> list[str]:
        command = ["ctr", "-a", str(sock), "-n", "moby", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=90)
        return sorted(line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip())

    subprocess.run(
        ["ctr", "-a", str(sock), "-n", "moby", "leases", "create", "--id", "now"], check=True
    )
    subprocess.run(
        ["ctr", "-a", str(sock), "-n", "moby", "leases", "delete", "--sync", "now"], check=True
    )
    return {
        "content": ctr("content", "ls"),
        "ingests": ctr("content", "active"),
        "leases": ctr("leases", "ls"),
        "snapshots": ctr("snapshots", "ls"),
        "images": ctr("images", "ls"),
    }


def test_a_build_with_a_locked_registry(
    local: Daemon, locked: TestRegistry, tmp_path: Path
) -> None:
    """The session is asked for credentials: for a base image that is pulled, and for a push."""
    base, made = f"{locked.host}/base:1", f"{locked.host}/made:1"
    local.docker("tag", "busybox", base)
    local.docker("login", "-u", USER, "--password-stdin", locked.host, stdin=b"secret\n")
    local.docker("push", base)
    local.docker("logout", locked.host)
    local.docker("rmi", base)
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nLABEL of=build\n")
    offer = Offer(directories={"dockerfile": tmp_path})
    client = BuildKitClient(local.socket, offer)
    exporter = Exporter(type="moby", attrs={"name": made, "push": "true"})
    denied = asyncio.run(client.build({}, exporter=exporter))
    assert denied.error is not None
    assert "no basic auth credentials" in (denied.error.message or "")
    offer.credentials = {locked.host: (USER, "secret")}
    built = asyncio.run(client.build({}, exporter=exporter))
    assert built.error is None
    assert offer.asked.count(f"credentials {locked.host}") == 3
    local.docker("rmi", made, base)
    local.docker("login", "-u", USER, "--password-stdin", locked.host, stdin=b"secret\n")
    local.docker("pull", made)
    local.docker("logout", locked.host)
    assert json.loads(local.docker("inspect", made).text)[0]["Config"]["Labels"] == {"of": "build"}
    local.docker("rmi", made)
    assert local.http("POST", "/build/prune").status == 200


def test_the_cli_with_a_locked_registry(local: Daemon, locked: TestRegistry) -> None:
    """login, tag, push, rmi, run (which pulls), logout; each with what the CLI shows."""
    name = f"{locked.host}/team/app:1"
    local.docker("tag", "busybox", name)
    refused = local.docker("push", name, code=1)
    assert "no basic auth credentials" in refused.error_text
    wrong = local.docker("login", "-u", USER, "-p", "wrong", locked.host, code=1)
    assert "unauthorized" in wrong.error_text.lower()
    login = local.docker("login", "-u", USER, "--password-stdin", locked.host, stdin=b"secret\n")
    assert "Login Succeeded" in login.text
    pushed = local.docker("push", name).text
    assert f"The push refers to repository [{locked.host}/team/app]" in pushed
    assert "1: digest: sha256:" in pushed
    local.docker("rmi", name)
    ran = local.docker("run", "--rm", name, "echo", "hi")
    assert ran.text == "hi"
    assert f"Status: Downloaded newer image for {name}" in ran.error_text
    again = local.docker("pull", name).text
    assert f"Status: Image is up to date for {name}" in again
    absent = local.docker("pull", f"{locked.host}/team/app:nosuch", code=1)
    assert "manifest unknown" in absent.error_text
    local.docker("logout", locked.host)
    denied = local.docker("pull", name, code=1)
    assert "no basic auth credentials" in denied.error_text
    local.docker("rmi", name)


def test_docker_py(local: Daemon, locked: TestRegistry) -> None:
    """login, push, pull by tag, by digest and all, the registry's data, errors as exceptions."""
    errors = pytest.importorskip("docker").errors
    client = local.client()
    client.login(USER, PASSWORD, registry=locked.url)
    repository = f"{locked.host}/team/py"
    image = client.images.get("busybox")
    for tag in ("1", "2"):
        image.tag(repository, tag)
    told: list[dict[str, Any]] = list(client.images.push(repository, stream=True, decode=True))
    tags = [line["aux"]["Tag"] for line in told if "aux" in line]
    assert tags == ["1", "2"]
    data = client.images.get_registry_data(f"{repository}:1")
    assert data.id == image.id
    assert data.has_platform("linux/amd64")
    for tag in ("1", "2"):
        client.images.remove(f"{repository}:{tag}")
    assert f"{repository}:1" in client.images.pull(repository, tag="1").tags
    assert {tag for one in client.images.pull(repository, all_tags=True) for tag in one.tags} > {
        f"{repository}:2"
    }
    by_digest = client.images.pull(f"{repository}@{image.id}")
    assert by_digest.id == image.id
    with pytest.raises(errors.NotFound):
        client.images.pull(repository, tag="nosuch")
    for tag in ("1", "2"):
        client.images.remove(f"{repository}:{tag}", force=True)


def test_a_pull_survives_kill_9(
    make_daemon: DaemonFactory, plain: TestRegistry, slow: FaultProxy
) -> None:
    """Nothing half-made shows, the next pull asks for the rest, nothing is left in the end."""
    digests = put_plain(plain, "cut", 1, 2)
    daemon = make_daemon(image=False)
    before = stored(daemon)
    name = f"{slow.host}/cut:1"
    slow.judge = half_of_layers
    with daemon.docker_process("pull", "-q", name):
        wait_until(lambda: any_progress(daemon), "half of it is here", limit_s=LIMIT_S)
        daemon.kill()
    daemon.start()
    assert daemon.image_names() == []
    assert stored(daemon)["ingests"]
    seen = len(slow.seen)
    slow.judge = lambda _seen, _before: None
    daemon.docker("pull", "-q", name, limit_s=LIMIT_S)
    for digest in digests:
        asked = [s for s in slow.seen[seen:] if s.is_layer and s.path.endswith(digest)]
        assert all("range" in one.headers for one in asked), asked
    assert daemon.image_names() == [name]
    daemon.docker("rmi", name)
    assert stored(daemon) == before
    # Once more; and this time nobody goes on with it.
    slow.judge = half_of_layers
    with daemon.docker_process("pull", "-q", name):
        wait_until(lambda: any_progress(daemon), "half of it is here", limit_s=LIMIT_S)
        daemon.kill()
    daemon.start()
    assert stored(daemon) != before
    daemon.docker("image", "prune", "-f")
    assert stored(daemon) == before


def half_of_layers(seen: Seen, _before: int) -> Fault | None:
    """More than half comes, and no more: a test has all the time to look."""
    return Fault(stall_after=LAYER_BYTES * 2 // 3) if seen.is_layer else None


def any_progress(daemon: Daemon) -> bool:
    """Whether some of every layer that is fetched lies on the disk."""
    root = daemon.data_root / "containerd" / "daemon" / "io.containerd.content.v1.content"
    sizes = [path.stat().st_size for path in (root / "ingest").glob("*/data")]
    return len(sizes) == 2 and all(1 << 20 <= size < LAYER_BYTES for size in sizes)


def test_a_push_survives_kill_9(make_daemon: DaemonFactory, plain: TestRegistry) -> None:
    """The image is not there, then the next push brings it; containerd's stores are as before."""
    layers = [(DOCKER_LAYER, blob, blob) for blob in (busybox_layer(), plain_layer(3))]
    plain.put_image("from", "1", layers)
    daemon = make_daemon(image=False)
    with fault_proxy(plain.host) as way:
        name = f"{way.host}/to:1"
        daemon.docker("pull", "-q", f"{plain.host}/from:1", limit_s=LIMIT_S)
        daemon.docker("tag", f"{plain.host}/from:1", name)
        before = stored(daemon)
        # The first upload takes for ever.
        way.judge = lambda seen, _before: Fault(hold=True) if seen.method == "PATCH" else None
        with daemon.docker_process("push", "-q", name):
            wait_until(
                lambda: any(seen.method == "PATCH" for seen in way.seen),
                "an upload has begun",
                limit_s=LIMIT_S,
            )
            daemon.kill()
        way.release()
        daemon.start()
        way.judge = lambda _seen, _before: None
        answer = daemon.http("GET", f"/distribution/{name}/json")
        assert answer.status == 404, answer
        daemon.docker("push", "-q", name, limit_s=LIMIT_S)
        assert plain.manifest("to", "1") == plain.manifest("from", "1")
        assert stored(daemon) == before


def test_a_client_sees_bars(local: Daemon, plain: TestRegistry, slow: FaultProxy) -> None:
    """On a terminal: a bar for each layer while it comes, and in the stream what draws it."""
    put_plain(plain, "bars", 5)
    name = f"{slow.host}/bars:1"
    with local.docker_on_terminal("pull", name, columns=160) as terminal:
        terminal.expect("Downloading [=", limit_s=LIMIT_S)
        terminal.expect("Downloaded newer image", limit_s=LIMIT_S)
    local.docker("rmi", name)
    answer = local.http("POST", f"/images/create?fromImage={slow.host}/bars&tag=1")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    (total,) = {line["progressDetail"]["total"] for line in lines if line.get("progress")}
    assert total == len(plain_layer(5))
    local.docker("rmi", name)


def test_an_interrupted_cli_ends_the_pull(
    local: Daemon, plain: TestRegistry, slow: FaultProxy
) -> None:
    """Ctrl-C, and what had come is gone."""
    put_plain(plain, "interrupted", 6)
    before = stored(local)
    with local.docker_process("pull", f"{slow.host}/interrupted:1") as process:
        wait_until(lambda: slow.layers(), "the layer is asked for", limit_s=LIMIT_S)
        process.terminate()
        process.wait(LIMIT_S)
    wait_until(lambda: stored(local) == before, "all is as before", limit_s=LIMIT_S)


THREE_STAGES = """FROM busybox AS one
RUN echo one > /one
FROM busybox AS two
RUN echo two > /two
FROM busybox
COPY --from=one /one /made/
COPY --from=two /two /made/
CMD ["sh", "-c", "cat /made/*"]
"""


def test_from_a_build_through_a_registry_to_a_run(
    local: Daemon, locked: TestRegistry, tmp_path: Path
) -> None:
    """Built in three stages, pushed, removed down to the cache, pulled and run, by both clients."""
    (tmp_path / "Dockerfile").write_text(THREE_STAGES)
    client = local.client()
    client.login(USER, PASSWORD, registry=locked.url)
    local.docker("login", "-u", USER, "--password-stdin", locked.host, stdin=b"secret\n")

    def forget(name: str) -> None:
        """Nothing of it is left on this machine."""
        local.docker("rmi", name)
        local.docker("builder", "prune", "-af")
        assert name not in local.image_names()
        assert len(stored(local)["images"]) == 1  # busybox

    by_cli, by_library = f"{locked.host}/whole/cli:1", f"{locked.host}/whole/py:1"
    local.docker("build", "-q", "-t", by_cli, str(tmp_path))
    local.docker("push", "-q", by_cli)
    forget(by_cli)
    assert local.docker("run", "--rm", "--network", "none", by_cli).text == "one\ntwo"
    local.docker("rmi", by_cli)
    client.images.build(path=str(tmp_path), tag=by_library)
    client.images.push(by_library)
    forget(by_library)
    pulled = client.images.pull(by_library)
    assert client.containers.run(pulled, remove=True, network_mode="none") == b"one\ntwo\n"
    forget(by_library)
