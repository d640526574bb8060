"""Debian's docker-registry under test: with TLS, passwords or tokens, on an address of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.ports import free_port

USER: Final = "tester"
PASSWORD: Final = "secret"
# bcrypt of PASSWORD, at the least cost.
HTPASSWD: Final = f"{USER}:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
START_LIMIT_S: Final = 60.0

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"


def require_registry() -> None:
    """Skip where there is no docker-registry."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """Who issues the tokens that a registry takes."""

    realm: str
    service: str
    issuer: str
    certificate: Path


@dataclass(slots=True, kw_only=True)
class TestRegistry:
    """A registry that runs, and a client of it that knows no fault."""

    __test__ = False

    host: str  # HOST:PORT
    folder: Path
    process: subprocess.Popen[bytes]
    scheme: str = "http"
    authorization: str = ""
    pushed: dict[str, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{self.scheme}://{self.host}"

    def call(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request that must succeed; the answer as urllib has it."""
        url = path if "://" in path else self.url + path
        request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
        if self.authorization:
            request.add_header("Authorization", self.authorization)
        context = ssl._create_unverified_context() if url.startswith("https") else None
        return urllib.request.urlopen(request, timeout=30, context=context)

    def put_blob(self, repository: str, data: bytes) -> str:
        """Store a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        location = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
        sign = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream"}
        self.call("PUT", f"{location}{sign}digest={digest}", data, headers)
        return digest

    def put_image(
        self,
        repository: str,
        tag: str,
        layers: Sequence[tuple[str, bytes, bytes]],
        *,
        architecture: str = "amd64",
        command: Sequence[str] = ("sh",),
    ) -> dict[str, Any]:
        """Store an image of layers (media type, blob, plain tar); its descriptor."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [_digest(plain) for _, _, plain in layers]},
        }
        encoded = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG,
                "digest": self.put_blob(repository, encoded),
                "size": len(encoded),
            },
            "layers": [
                {
                    "mediaType": media_type,
                    "digest": self.put_blob(repository, blob),
                    "size": len(blob),
                }
                for media_type, blob, _ in layers
            ],
        }
        descriptor = self.put_manifest(repository, tag, DOCKER_MANIFEST, manifest)
        return descriptor | {"platform": {"os": "linux", "architecture": architecture}}

    def put_index(self, repository: str, tag: str, manifests: Sequence[Mapping[str, Any]]) -> str:
        """Store a list of manifests; its digest."""
        index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": list(manifests)}
        return str(self.put_manifest(repository, tag, DOCKER_INDEX, index)["digest"])

    def put_manifest(
        self, repository: str, tag: str, media_type: str, document: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Store a manifest under a tag; its descriptor."""
        data = json.dumps(document, indent=3).encode()  # no two encoders agree on this
        headers = {"Content-Type": media_type}
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", data, headers)
        self.pushed[_digest(data)] = data
        return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}

    def manifest(self, repository: str, tag: str) -> bytes:
        """The bytes of a manifest."""
        headers = {"Accept": f"{DOCKER_MANIFEST}, {DOCKER_INDEX}"}
        data: bytes = self.call("GET", f"/v2/{repository}/manifests/{tag}", headers=headers).read()
        return data


@contextmanager
def running_registry(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    certificate: tuple[Path, Path] | None = None,
    client_ca: Path | None = None,
    passwords: bool = False,
    tokens: TokenAuth | None = None,
) -> Iterator[TestRegistry]:
    """A registry with its data in `folder`, ended after the block."""
    require_registry()
    folder.mkdir(parents=True, exist_ok=True)
    host = f"{address}:{free_port(address=address)}"
    http: dict[str, Any] = {"addr": host, "secret": "x"}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate[0]), "key": str(certificate[1])}
        if client_ca is not None:
            http["tls"]["clientcas"] = [str(client_ca)]
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": http,
    }
    if passwords:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if tokens is not None:
        config["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(tokens.certificate),
            }
        }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        _wait_listening(host, process, folder / "log")
        yield TestRegistry(
            host=host,
            folder=folder,
            process=process,
            scheme="http" if certificate is None else "https",
        )
    finally:
        process.kill()
        process.wait()


def _wait_listening(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    address, _, port = host.rpartition(":")
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((address, int(port)), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"the registry does not listen:\n{log.read_text()}")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
