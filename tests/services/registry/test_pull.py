"""Pulls from a real registry into a real containerd, over ways that break."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import trio
import zstandard

from services.errors import EngineError, InvalidParameter, NotFound
from services.images.platform import Platform
from services.registry import Credentials
from services.registry.errors import RegistryError
from tests.services.images.conftest import collect
from tests.services.registry.conftest import (
    LAYER_BYTES,
    ended,
    open_scene,
    plain_layer,
    put_plain,
)
from tests.support.broken_http import Fault, FaultProxy, Seen, fault_proxy
from tests.support.registry import DOCKER_LAYER, OCI_LAYER, TestRegistry

pytestmark = pytest.mark.engine


async def test_an_image_comes_whole_and_byte_for_byte(
    containerd_address: Path, open_registry: TestRegistry
) -> None:
    """Plain, gzip and zstd layers are unpacked; the manifest is the registry's, to the byte."""
    layers = [plain_layer(number, 1000) for number in range(3)]
    stored = [
        (OCI_LAYER, layers[0], layers[0]),
        (f"{DOCKER_LAYER}.gzip", gzip.compress(layers[1]), layers[1]),
        (f"{OCI_LAYER}+zstd", zstandard.compress(layers[2]), layers[2]),
    ]
    digest = str(open_registry.put_image("whole", "1", stored)["digest"])
    name = f"{open_registry.host}/whole:1"
    async with open_scene(containerd_address) as scene:
        told = await scene.pull(name)
        image = await scene.engine.images.resolve(name)
        data = await scene.containerd.content.read_all(digest, 1 << 20)
        again = await scene.pull(name)
        events = scene.engine.events.told
        await scene.drop(name)
        await scene.check_nothing_left()
    assert image.id == digest
    assert len(image.layers) == 3
    assert image.unpacked_bytes > 0
    assert data == open_registry.pushed[digest]
    assert told.startswith("1: Pulling from whole\n")
    assert told.count("Pull complete") == 3
    assert told.endswith(f"Digest: {digest}\nStatus: Downloaded newer image for {name}")
    assert again.splitlines()[1:] == [
        f"Digest: {digest}",
        f"Status: Image is up to date for {name}",
    ]
    assert [(e.action, e.actor_id) for e in events if e.action == "pull"] == [("pull", name)] * 2


async def test_the_platform_decides(containerd_address: Path, open_registry: TestRegistry) -> None:
    """Of a list one's own platform comes, or the one that is asked for; the rest stays away."""
    layers = {name: plain_layer(seed, 100) for name, seed in (("amd64", 20), ("arm64", 21))}
    children = [
        open_registry.put_image("multi", name, [(DOCKER_LAYER, x, x)], architecture=name)
        for name, x in layers.items()
    ]
    digest = open_registry.put_index("multi", "1", children)
    name = f"{open_registry.host}/multi:1"
    async with open_scene(containerd_address) as scene:
        arm = Platform(os="linux", architecture="arm64")
        await scene.pull(name, platform=arm)
        here = {info.digest for info in await scene.containerd.content.list()}
        assert children[1]["digest"] in here
        assert children[0]["digest"] not in here
        await scene.pull(name, platform=Platform(os="linux", architecture="amd64"))
        image = await scene.engine.images.resolve(f"{open_registry.host}/multi@{digest}")
        assert image.id == digest
        assert sum(manifest.is_available for manifest in image.manifests) == 2
        s390 = Platform(os="linux", architecture="s390x")
        with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest"):
            await scene.pull(name, platform=s390)
        await scene.drop(name)
        await scene.check_nothing_left()


async def test_all_tags_and_digests(containerd_address: Path, open_registry: TestRegistry) -> None:
    """A name alone means all its tags; a digest is pulled as one."""
    for tag in ("a", "b"):
        put_plain(open_registry, "tags/two", 1, tag=tag)
    digest = f"sha256:{hashlib.sha256(open_registry.manifest('tags/two', 'a')).hexdigest()}"
    name = f"{open_registry.host}/tags/two"
    async with open_scene(containerd_address) as scene:
        await scene.pull(name)
        (image,) = await scene.engine.images.list()
        assert image.repo_tags == (f"{name}:a", f"{name}:b")
        told = await scene.pull(f"{name}@{digest}")
        assert f"{digest}: Pulling from tags/two" in told
        await scene.engine.images.resolve(f"{name}@{digest}")


@pytest.mark.parametrize("cut", [1, LAYER_BYTES // 2, LAYER_BYTES - 1])
async def test_a_broken_connection_is_resumed(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy, cut: int
) -> None:
    """Only what is missing is asked for again."""
    (digest,) = put_plain(open_registry, "cut", 2)
    first = lambda seen, before: Fault(cut_after=cut) if _is(seen, digest) and not before else None  # noqa: E731
    faulty.judge = first
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{faulty.host}/cut:1")
        await scene.drop(f"{faulty.host}/cut:1")
        await scene.check_nothing_left()
    asked = [seen.headers.get("range", "") for seen in faulty.layers() if _is(seen, digest)]
    assert len(asked) == 2
    start = int(asked[1].removeprefix("bytes=").partition("-")[0])
    assert 0 < start <= cut


async def test_a_server_without_ranges_will_do(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """It sends all of it again; what is here already is passed over."""
    (digest,) = put_plain(open_registry, "noranges", 3)
    blob = plain_layer(3)

    def judge(seen: Seen, before: int) -> Fault | None:
        if not _is(seen, digest):
            return None
        return Fault(status=200, body=blob) if before else Fault(cut_after=1 << 20)

    faulty.judge = judge
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{faulty.host}/noranges:1")


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (Fault(flip=True), "filesystem layer verification failed for digest sha256:"),
        (Fault(cut_after=4096), "unexpected EOF"),
        (Fault(status=500), "unexpected status code 500"),
        (Fault(status=404), "not found"),
        (Fault(status=429, headers={"Retry-After": "3600"}), "^toomanyrequests: "),
        (Fault(status=200, body=b"short"), "unexpected EOF"),
        (Fault(status=200, body=b"x" * (LAYER_BYTES + 1_000_000)), "longer than its descriptor"),
    ],
    ids=["flipped", "cut", "500", "404", "429", "short", "long"],
)
async def test_a_pull_that_fails_leaves_nothing(
    containerd_address: Path,
    open_registry: TestRegistry,
    faulty: FaultProxy,
    fault: Fault,
    match: str,
) -> None:
    """Whatever one layer suffers from: no image, no content, no snapshot, no lease."""
    good, bad = put_plain(open_registry, "fails", 4, 5)
    faulty.judge = lambda seen, _before: fault if _is(seen, bad) else None
    async with open_scene(containerd_address, max_attempts=2) as scene:
        with pytest.raises(EngineError, match=match):
            await scene.pull(f"{faulty.host}/fails:1")
        await scene.check_nothing_left()
        faulty.judge = lambda _seen, _before: None
        await scene.pull(f"{faulty.host}/fails:1")  # and the next one is not the worse for it
    assert any(_is(seen, good) for seen in faulty.layers())


async def test_what_passes_is_waited_for(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """503, then 429 that says how long, then it comes."""
    (digest,) = put_plain(open_registry, "busy", 6)
    faults = (Fault(status=503), Fault(status=429, headers={"Retry-After": "1"}))

    def judge(seen: Seen, before: int) -> Fault | None:
        is_late = seen.path.endswith("/manifests/1") or _is(seen, digest)
        return faults[before] if is_late and before < len(faults) else None

    faulty.judge = judge
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{faulty.host}/busy:1")
    assert sum(_is(seen, digest) for seen in faulty.layers()) == 3


async def test_clients_share_a_pull(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """Three clients, each layer fetched once; one that leaves does not matter to the others."""
    digests = put_plain(open_registry, "shared", 7, 8)
    put_plain(open_registry, "shared/other", 7)
    faulty.judge = lambda seen, _before: Fault(pause_s=0.01) if seen.is_layer else None
    name = f"{faulty.host}/shared:1"
    told: list[str] = []
    async with open_scene(containerd_address) as scene:
        pull = scene.pull

        async def watch(which: str) -> None:
            told.append(await pull(which))

        async with trio.open_nursery() as nursery:
            for which in (name, name, f"{faulty.host}/shared/other:1"):
                nursery.start_soon(watch, which)
            async with scene.pulling(name) as job:
                await job.board.wait_first()
    for digest in digests:
        assert len([seen for seen in faulty.layers() if seen.path.endswith(digest)]) == 1
    assert [text.count("Status: Downloaded newer image") for text in told] == [1, 1, 1]


async def test_a_pull_ends_with_its_last_client(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """Nobody waits any more: nothing goes on, nothing is left."""
    put_plain(open_registry, "left", 9)
    faulty.judge = lambda seen, _before: Fault(pause_s=0.2) if seen.is_layer else None
    name = f"{faulty.host}/left:1"
    async with open_scene(containerd_address) as scene:
        async with scene.pulling(name) as job:
            while not any(seen.is_layer for seen in faulty.seen):
                await trio.sleep(0.01)
        with pytest.raises(EngineError):
            await ended(job)
        while await scene.containerd.leases.list():
            await trio.sleep(0.02)
        await scene.check_nothing_left()
        assert not await scene.engine.images.list()


async def test_the_daemons_end_leaves_what_came(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """A daemon that is asked to end keeps the parts for the next; or for a prune to take away."""
    (digest,) = put_plain(open_registry, "ending", 10)
    faulty.judge = lambda seen, _before: Fault(pause_s=0.2) if seen.is_layer else None
    name = f"{faulty.host}/ending:1"
    async with open_scene(containerd_address) as scene:
        for _ in range(2):
            scene.is_ending = True
            async with scene.pulling(name) as job:
                async for lines in job.board.watch():
                    if any(line.current for line in lines):
                        break
            with pytest.raises(EngineError):
                await ended(job)
            scene.is_ending = False
            await collect(scene.containerd)
            (ingest,) = await scene.containerd.content.statuses()
            assert 0 < ingest.offset_bytes < LAYER_BYTES
        faulty.judge = lambda _seen, _before: None
        await scene.pull(name)
        ranges = [s.headers.get("range", "") for s in faulty.layers() if _is(s, digest)]
        assert ranges[0] == ""
        assert all(ranges[1:])
        await scene.drop(name)
        await scene.check_nothing_left()


async def test_a_prune_takes_away_what_was_left(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """What a daemon's end has left to be resumed goes when it is told to."""
    put_plain(open_registry, "pruned", 11)
    faulty.judge = lambda seen, _before: Fault(pause_s=0.2) if seen.is_layer else None
    async with open_scene(containerd_address) as scene:
        scene.is_ending = True
        async with scene.pulling(f"{faulty.host}/pruned:1") as job:
            async for lines in job.board.watch():
                if any(line.current for line in lines):
                    break
        with pytest.raises(EngineError):
            await ended(job)
        assert await scene.containerd.leases.list()
        await scene.registry.drop_leftovers()
        await scene.check_nothing_left()


async def test_unknown_images(containerd_address: Path, open_registry: TestRegistry) -> None:
    """dockerd's words for what a registry does not have."""
    put_plain(open_registry, "known", 1)
    async with open_scene(containerd_address) as scene:
        for name in ("known:nosuch", "nosuch/image:1"):
            full = f"{open_registry.host}/{name}"
            text = f"^manifest for {full} not found: manifest unknown: manifest unknown$"
            with pytest.raises(NotFound, match=text):
                await scene.pull(full)
        with pytest.raises(NotFound, match=r"repository .*/nosuch/image not found: name unknown"):
            await scene.pull(f"{open_registry.host}/nosuch/image")
        with pytest.raises(EngineError, match="connect: connection refused"):
            await scene.pull("127.0.0.1:1/x:1")
        with pytest.raises(EngineError, match=r"lookup nosuch\.invalid: no such host"):
            await scene.pull("nosuch.invalid/x:1")


async def test_redirects_do_not_carry_credentials_on(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """A layer that lies elsewhere is fetched there, without the Authorization of the registry."""
    (digest,) = put_plain(open_registry, "moved", 12)
    with fault_proxy(open_registry.host) as elsewhere:

        def judge(seen: Seen, _before: int) -> Fault | None:
            if "authorization" not in seen.headers:
                return Fault(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            if _is(seen, digest):
                location = f"http://{elsewhere.host}{seen.path}"
                return Fault(status=307, headers={"Location": location})
            return None

        faulty.judge = judge
        async with open_scene(containerd_address) as scene:
            who = Credentials(username="u", password="p")
            await scene.pull(f"{faulty.host}/moved:1", who)
        assert [seen.path for seen in elsewhere.seen] == [f"/v2/moved/blobs/{digest}"]
        assert all("authorization" not in seen.headers for seen in elsewhere.seen)


async def test_redirects_end(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """A circle is left after ten rounds, and other schemes are not gone to."""
    (digest,) = put_plain(open_registry, "circle", 13)
    targets = {"circle": f"/v2/circle/blobs/{digest}", "file": "file:///etc/passwd"}
    async with open_scene(containerd_address) as scene:
        for what, match in (
            ("circle", "stopped after 10 redirects"),
            ("file", "unsupported scheme"),
        ):
            headers = {"Location": targets[what]}
            faulty.judge = lambda seen, _before, headers=headers: (  # type: ignore[misc]
                Fault(status=302, headers=headers) if _is(seen, digest) else None
            )
            with pytest.raises(EngineError, match=match):
                await scene.pull(f"{faulty.host}/circle:1")
            await scene.check_nothing_left()


@pytest.mark.parametrize(
    ("media_type", "document", "match"),
    [
        (
            "application/vnd.docker.distribution.manifest.v1+json",
            b'{"schemaVersion":1}',
            "schema 1",
        ),
        ("application/vnd.oci.image.manifest.v1+json", b"{}", "required field `config`"),
        ("application/vnd.oci.image.manifest.v1+json", b"rubbish", "invalid manifest"),
        ("text/html", b"<html>", "invalid manifest"),
        (
            "application/vnd.oci.image.manifest.v1+json",
            b'{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",'
            b'"digest":"sha256:00","size":1},"layers":[]}',
            "helm.config.*when fetching",
        ),
        (
            "application/vnd.oci.image.manifest.v1+json",
            b'{"config":{"mediaType":"application/vnd.oci.image.config.v1+json",'
            b'"digest":"sha256:../../x","size":1},"layers":[]}',
            "invalid digest",
        ),
        ("application/vnd.oci.image.manifest.v1+json", b" " * (5 << 20), "larger than 4194304"),
    ],
    ids=["schema1", "empty", "rubbish", "html", "helm", "digest", "huge"],
)
async def test_documents_that_are_no_images(
    containerd_address: Path, faulty: FaultProxy, media_type: str, document: bytes, match: str
) -> None:
    """Refused with a sentence, and nothing is left of them."""
    headers = {"Content-Type": media_type}
    fault = Fault(status=200, headers=headers, body=document)
    faulty.judge = lambda seen, _before: fault if "/manifests/" in seen.path else None
    async with open_scene(containerd_address) as scene:
        with pytest.raises(EngineError, match=match):
            await scene.pull(f"{faulty.host}/odd:1")
        await scene.check_nothing_left()


async def test_a_manifest_that_is_another(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """What comes for a digest has that digest."""
    put_plain(open_registry, "swapped", 14)
    wanted = f"sha256:{hashlib.sha256(open_registry.manifest('swapped', '1')).hexdigest()}"
    faulty.judge = lambda seen, _before: (
        Fault(flip=True) if seen.method == "GET" and "/manifests/" in seen.path else None
    )
    async with open_scene(containerd_address) as scene:
        with pytest.raises(EngineError, match="manifest verification failed for digest"):
            await scene.pull(f"{faulty.host}/swapped@{wanted}")
        await scene.check_nothing_left()


async def test_an_image_that_lies_about_its_layers(
    containerd_address: Path, open_registry: TestRegistry
) -> None:
    """A configuration that names other layers than there are makes no image."""
    layer, other = plain_layer(15, 100), plain_layer(16, 100)
    open_registry.put_image("liar", "1", [(DOCKER_LAYER, layer, other)])
    async with open_scene(containerd_address) as scene:
        with pytest.raises(InvalidParameter, match="wrong diff id"):
            await scene.pull(f"{open_registry.host}/liar:1")
        await scene.check_nothing_left()


async def test_denied(containerd_address: Path, faulty: FaultProxy) -> None:
    """A registry that does not show an image says as much, in dockerd's words."""
    body = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    faulty.judge = lambda seen, _before: (
        Fault(status=403, body=body) if "/manifests/" in seen.path else None
    )
    async with open_scene(containerd_address) as scene:
        with pytest.raises(NotFound) as caught:
            await scene.pull(f"{faulty.host}/private:1")
    assert str(caught.value) == (
        f"pull access denied for {faulty.host}/private, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied"
    )
    assert isinstance(caught.value.__cause__, RegistryError)


def _is(seen: Seen, digest: str) -> bool:
    return seen.method == "GET" and seen.path.endswith(f"/blobs/{digest}")
