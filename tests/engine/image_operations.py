"""The operations on images in which a daemon is killed, each with its scene, call and result."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.services.images.archives import TestImage, busybox_layer, docker_members, tar_of
from tests.support.crashable import FaultableDaemon
from tests.support.http import Answer
from tests.support.registry import DOCKER_LAYER, TestRegistry

LARGE_BYTES = (4 << 20) + 5
"""Large enough to be written into containerd's own file."""
AUTH = {"X-Registry-Auth": base64.b64encode(b"{}").decode()}


@dataclass(slots=True)
class Scene:
    """A daemon, a registry, and the files that images are made of."""

    daemon: FaultableDaemon
    registry: TestRegistry
    noise: bytes = field(default_factory=lambda: tar_of({"noise": os.urandom(LARGE_BYTES)}))

    @property
    def archive(self) -> bytes:
        """What `docker load` gets: an image of two layers."""
        image = TestImage(layers=[busybox_layer(), self.noise], tags=["large:1"])
        return tar_of(docker_members(image))

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        wanted: tuple[int, ...] = (200, 201, 204),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request that must succeed; its connection may break."""
        answer = self.daemon.http(method, path, body, dict(headers or {}))
        assert answer.status in wanted, (method, path, answer)
        assert b'"error"' not in answer.body[-5000:], (method, path, answer.body[-5000:])
        return answer

    def images(self) -> dict[str, str]:
        """IDs of all images, by their names."""
        listed = self.ask("GET", "/images/json?all=1").json()
        return {name: image["Id"] for image in listed for name in image["RepoTags"] or ["-"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOperation:
    """What is done with images.

    Attributes:
        prepare: before the fault.
        act: what the daemon dies in; the second try is the same.
        gives: the image that is there afterwards.
        check: what else must hold before the second try, and after it.
    """

    name: str
    prepare: Callable[[Scene], object] = lambda _scene: None
    act: Callable[[Scene], object]
    gives: str = ""
    check: Callable[[Scene], object] = lambda _scene: None


def load(scene: Scene) -> None:
    """docker load."""
    scene.ask("POST", "/images/load?quiet=1", scene.archive)


def import_(scene: Scene) -> None:
    """docker import."""
    scene.ask("POST", "/images/create?fromSrc=-&repo=imported&tag=1", scene.noise)


def save(scene: Scene) -> None:
    """docker save."""
    scene.ask("GET", "/images/large:1/get")


def remove(scene: Scene) -> None:
    """docker rmi."""
    scene.ask("DELETE", "/images/large:1", wanted=(200, 404))


def prune(scene: Scene) -> None:
    """docker image prune -a."""
    everything = quote(json.dumps({"dangling": ["false"]}))
    scene.ask("POST", f"/images/prune?filters={everything}")


def run_box(scene: Scene) -> None:
    """A container that runs and has a large file of its own."""
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": "none"},
    }
    scene.ask("POST", "/containers/create?name=box", body)
    scene.ask("POST", "/containers/box/start")
    scene.ask("PUT", "/containers/box/archive?path=/", scene.noise)


def commit(scene: Scene) -> None:
    """docker commit, which holds the container still."""
    scene.ask("POST", "/commit?container=box&repo=committed&tag=1&pause=1")


def box_runs(scene: Scene) -> None:
    """Nobody has it frozen."""
    state = scene.ask("GET", "/containers/box/json").json()["State"]
    assert state["Status"] == "running", state


def publish(scene: Scene) -> None:
    """An image in the registry that is not here."""
    layers = [(DOCKER_LAYER, layer, layer) for layer in (busybox_layer(), scene.noise)]
    scene.registry.put_image("pulled", "1", layers)


def pull(scene: Scene) -> None:
    """docker pull."""
    scene.ask("POST", f"/images/create?fromImage={scene.registry.host}/pulled&tag=1")


def load_to_push(scene: Scene) -> None:
    """An image here that is not in the registry."""
    load(scene)
    scene.ask("POST", f"/images/large:1/tag?repo={scene.registry.host}/pushed&tag=1")


def push(scene: Scene) -> None:
    """docker push; the registry has all of it then."""
    scene.ask("POST", f"/images/{scene.registry.host}/pushed/push?tag=1", headers=AUTH)
    manifest = json.loads(scene.registry.manifest("pushed", "1"))
    for blob in (manifest["config"], *manifest["layers"]):
        scene.registry.call("HEAD", f"/v2/pushed/blobs/{blob['digest']}")


def build(scene: Scene) -> None:
    """docker build."""
    dockerfile = b"FROM busybox\nCOPY data /data\nLABEL a=1\nRUN echo ran > /ran\nWORKDIR /work\n"
    context = tar_of({"Dockerfile": dockerfile, "data": scene.noise})
    scene.ask("POST", "/build?t=built:1&networkmode=none&rm=1", context)


OPERATIONS = {
    operation.name: operation
    for operation in (
        ImageOperation(name="load", act=load, gives="large:1"),
        ImageOperation(name="import", act=import_, gives="imported:1"),
        ImageOperation(name="save", prepare=load, act=save, gives="large:1"),
        ImageOperation(name="remove", prepare=load, act=remove),
        ImageOperation(name="prune", prepare=load, act=prune),
        ImageOperation(
            name="commit", prepare=run_box, act=commit, gives="committed:1", check=box_runs
        ),
        ImageOperation(name="pull", prepare=publish, act=pull, gives="HOST/pulled:1"),
        ImageOperation(name="push", prepare=load_to_push, act=push, gives="HOST/pushed:1"),
        ImageOperation(name="build", act=build, gives="built:1"),
    )
}


def stores(daemon: FaultableDaemon) -> dict[str, list[str]]:
    """What containerd says it holds, and what is on its disk and in the engine's own folders."""

    def ctr(*arguments: str) -> list[str]:
        socket = daemon.exec_root / "containerd" / "containerd.sock"
        command = ["ctr", "-a", str(socket), "-n", "moby", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        return sorted(done.stdout.splitlines())

    root = daemon.data_root / "containerd" / "daemon"
    content = root / "io.containerd.content.v1.content"
    folders = {
        "blobs on disk": content / "blobs" / "sha256",
        "ingests on disk": content / "ingest",
        "snapshots on disk": root / "io.containerd.snapshotter.v1.overlayfs" / "snapshots",
        "builds": daemon.data_root / "build",
    }
    return {
        "images": [line.split()[0] for line in ctr("images", "ls")],
        "blobs": ctr("content", "ls", "-q"),
        "ingests": ctr("content", "active")[1:],
        "snapshots": [line.split()[0] for line in ctr("snapshots", "ls")],
        "leases": ctr("leases", "ls", "-q"),
    } | {
        what: [str(len(os.listdir(folder)))] if what.startswith("snap") else sorted(names(folder))
        for what, folder in folders.items()
    }


def names(folder: Any) -> list[str]:
    """What is in a folder, if it is there."""
    return os.listdir(folder) if folder.is_dir() else []


def whole(scene: Scene) -> None:
    """Each image that is listed can be saved, and be made a container of."""
    for image_id in set(scene.images().values()):
        scene.ask("GET", f"/images/{image_id}/get")
        body = {"Image": image_id, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
        made = scene.ask("POST", "/containers/create", body).json()["Id"]
        scene.ask("DELETE", f"/containers/{made}")
