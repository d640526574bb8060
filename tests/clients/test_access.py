"""Who may do what: plugins, scoped sockets, certificates and the audit log, by the real docker CLI.

One daemon with all of it; the plugin is in the folder where dockerd looks too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.plugins.discovery import SOCKETS
from services.system.tls import client_context
from tests.support.authz import Plugin, plugin_at
from tests.support.certificates import make_certificates
from tests.support.daemon import (
    COMMAND_LIMIT_S,
    Daemon,
    Ran,
    hear_interrupts,
    require_docker,
    running_daemon,
    wait_until,
)
from tests.support.http import request
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.clients]

CI = {
    "operations": [
        "ContainerCreate", "ContainerStart", "ContainerWait", "ContainerAttach", "ContainerList",
        "ContainerInspect", "ContainerDelete", "ContainerLogs", "ContainerExec", "ExecStart",
        "ExecInspect", "ContainerStop", "ContainerPrune", "SystemEvents",
    ],
    "labels": {"team": "blue"},
}  # fmt: skip
NONE = ("--network", "none")


@dataclass
class Scene:
    """A daemon, its plugin, and where else it listens."""

    daemon: Daemon
    plugin: Plugin
    folder: Path
    port: int

    def docker(self, host: str, *args: str, code: int | None = 0, **more: str) -> Ran:
        """The docker CLI against another of the daemon's listeners."""
        environment = self.daemon.environment() | {"DOCKER_HOST": host} | more
        done = subprocess.run(
            ["docker", *args], capture_output=True, env=environment, check=False,
            timeout=COMMAND_LIMIT_S, preexec_fn=hear_interrupts,
        )  # fmt: skip
        ran = Ran(args=args, code=done.returncode, out=done.stdout, err=done.stderr)
        assert code is None or ran.code == code, (args, ran.out, ran.err)
        return ran

    @property
    def ci(self) -> str:
        """The socket for containers of one team."""
        return f"unix://{self.folder}/ci.sock"

    @property
    def reader(self) -> Path:
        """The socket that only shows."""
        return self.folder / "read.sock"

    def audit(self) -> list[dict[str, Any]]:
        """The audit log."""
        return [json.loads(line) for line in (self.folder / "audit").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene, once for all tests of this file."""
    require_docker()
    folder = make_certificates(tmp_path_factory.mktemp("a"))
    port = free_port()
    SOCKETS.mkdir(parents=True, exist_ok=True)
    name = f"wf{os.getpid()}"
    scopes: list[dict[str, Any]] = [
        {"path": f"{folder}/ci.sock", "policy": CI},
        {"path": f"{folder}/read.sock", "policy": {"read-only": True}, "group": "0"},
    ]
    with plugin_at(SOCKETS / f"{name}.sock") as plugin:
        flags = [
            *("-H", f"tcp://127.0.0.1:{port}", "--tlsverify"),
            *("--tlscacert", f"{folder}/ca.pem", "--tlscert", f"{folder}/server-cert.pem"),
            *("--tlskey", f"{folder}/server-key.pem", "--audit-log", f"{folder}/audit"),
            *("--authorization-plugin", name),
            *(part for one in scopes for part in ("--scoped-socket", json.dumps(one))),
        ]
        with running_daemon(*flags) as daemon:
            yield Scene(daemon=daemon, plugin=plugin, folder=folder, port=port)
            plugin.verdict = lambda *_: {"Allow": True}


@pytest.fixture
def scene(whole: Scene) -> Iterator[Scene]:
    """The scene without containers, with a plugin that consents, and an empty audit log."""
    whole.plugin.verdict = lambda *_: {"Allow": True}
    whole.plugin.asked.clear()
    (whole.folder / "audit").write_text("")
    yield whole
    whole.plugin.verdict = lambda *_: {"Allow": True}
    whole.daemon.remove_containers()


def test_a_plugin_sees_all_and_can_refuse_all(scene: Scene) -> None:
    """docker run, exec and logs under its eyes; its no is what the CLI shows."""
    run = ("run", "--rm", *NONE, "busybox", "echo", "hi")
    assert scene.daemon.docker(*run).text == "hi"
    asked = [(phase, a["RequestMethod"], a["RequestUri"]) for phase, a in scene.plugin.asked]
    creates = [a for phase, a in scene.plugin.asked if "/containers/create" in a["RequestUri"]]
    assert json.loads(creates[0]["RequestBody"])["Image"] == "busybox"
    assert creates[1]["ResponseStatusCode"] == 201
    assert "Id" in json.loads(creates[1]["ResponseBody"])
    for word in ("/attach?", "/start", "/wait?"):
        phases = [phase for phase, _, uri in asked if word in uri]
        assert phases == ["AuthZReq", "AuthZRes"], word
    name = scene.plugin.path.stem

    def no_privileges(phase: str, a: dict[str, Any]) -> object:
        body = json.loads(a.get("RequestBody") or "{}")
        allow = not (body.get("HostConfig") or {}).get("Privileged")
        return {"Allow": allow, "Msg": "no privileges"}

    scene.plugin.verdict = no_privileges
    refused = scene.daemon.docker("run", "--privileged", *run[1:], code=125)
    assert f"authorization denied by plugin {name}: no privileges" in refused.error_text
    assert scene.daemon.docker(*run).text == "hi"
    assert scene.daemon.container_ids() == []


def test_a_plugin_that_is_gone_refuses_all(scene: Scene) -> None:
    """Every request, pings too, until it is back."""
    scene.plugin.stop()
    for method, path in (
        ("GET", "/_ping"),
        ("GET", "/containers/json"),
        ("POST", "/containers/prune"),
    ):
        answer = scene.daemon.http(method, path)
        assert answer.status == 500
        assert "failed with error: " in answer.message
    scene.plugin.start()
    assert scene.daemon.http("GET", "/_ping").status == 200


def test_plugins_are_taken_off_and_put_on_by_a_reload(
    tmp_path: Path, make_daemon: Callable[..., Daemon]
) -> None:
    """The file says which; one that is not there leaves the ones that are."""
    name = f"wfr{os.getpid()}"
    SOCKETS.mkdir(parents=True, exist_ok=True)
    daemon = make_daemon(image=False)
    config = daemon.folder / "daemon.json"

    def reload(plugins: list[str], word: str) -> None:
        since = daemon.log_file.stat().st_size
        config.write_text(json.dumps({"authorization-plugins": plugins}))
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: word in daemon.log_text(since=since), word)

    with plugin_at(SOCKETS / f"{name}.sock") as plugin:
        plugin.verdict = lambda *_: {"Allow": False, "Msg": "closed"}
        assert daemon.http("GET", "/info").status == 200
        reload([name], "configuration reloaded")
        assert daemon.http("GET", "/info").status == 403
        reload([name, "nobody"], "failed to validate authorization plugin")
        assert daemon.http("GET", "/info").status == 403
        reload([], "configuration reloaded")
        assert daemon.http("GET", "/info").status == 200


def test_a_ci_job_has_its_containers_and_no_others(scene: Scene) -> None:
    """docker run works on its socket; what is not its own is not there."""
    scene.daemon.docker("run", "-d", "--name", "other", *NONE, "busybox", "sleep", "100")
    run = ("run", *NONE, "--name", "mine", "-e", "A=b", "busybox", "echo", "hi")
    assert scene.docker(scene.ci, *run).text == "hi"
    assert scene.docker(scene.ci, "ps", "-a", "--format", "{{.Names}}").text == "mine"
    label = scene.daemon.docker("inspect", "-f", "{{.Config.Labels.team}}", "mine").text
    assert label == "blue"
    assert scene.docker(scene.ci, "inspect", "-f", "{{.Config.Env}}", "mine").text.startswith(
        "[A=<hidden>"
    )
    assert scene.docker(scene.ci, "logs", "mine").text == "hi"
    for args in (("logs", "other"), ("stop", "other"), ("exec", "other", "id")):
        assert "No such container: other" in scene.docker(scene.ci, *args, code=1).error_text
    for flags, word in (
        (("--privileged",), "privileged is not allowed"),
        (("-v", "/:/host"), "binds is not allowed"),
        (("--pid", "host"), "host-namespaces is not allowed"),
        (("--cap-add", "SYS_ADMIN"), "capabilities is not allowed"),
    ):
        refused = scene.docker(scene.ci, "run", *flags, "busybox", "id", code=125)
        assert word in refused.error_text
    assert "does not permit" in scene.docker(scene.ci, "volume", "ls", code=1).error_text
    scene.docker(scene.ci, "container", "prune", "-f")
    assert scene.daemon.docker("ps", "-a", "--format", "{{.Names}}").text == "other"
    # The plugin is asked about these requests as about any.
    assert any("/containers/create" in a["RequestUri"] for _, a in scene.plugin.asked)


def test_a_monitoring_agent_reads(scene: Scene) -> None:
    """Lists and stats; nothing that changes, nothing that containers keep to themselves."""
    scene.daemon.docker("run", "-d", "--name", "box", *NONE, "busybox", "sleep", "100")
    host = f"unix://{scene.reader}"
    assert scene.docker(host, "ps", "--format", "{{.Names}}").text == "box"
    assert "box" in scene.docker(host, "stats", "--no-stream").text
    assert request(scene.reader, "GET", "/system/df").status == 200
    for args in (("stop", "box"), ("exec", "box", "id"), ("logs", "box"), ("cp", "box:/etc", "-")):
        assert "this socket does not permit" in scene.docker(host, *args, code=1).error_text
    status = scene.reader.stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, 0)


def test_certificates_are_demanded(scene: Scene) -> None:
    """docker --tlsverify with the right one; a stranger's, none, and old TLS get nowhere."""
    host = f"tcp://127.0.0.1:{scene.port}"
    tls = ("--tlsverify", "--tlscacert", f"{scene.folder}/ca.pem")
    mine = (
        "--tlscert",
        f"{scene.folder}/client-cert.pem",
        "--tlskey",
        f"{scene.folder}/client-key.pem",
    )
    strange = (
        *("--tlscert", f"{scene.folder}/stranger-cert.pem"),
        *("--tlskey", f"{scene.folder}/stranger-key.pem"),
    )
    assert (
        scene.docker(host, *tls, *mine, "run", "--rm", *NONE, "busybox", "echo", "hi").text == "hi"
    )
    asked = [a for _, a in scene.plugin.asked if "/containers/create" in a["RequestUri"]]
    assert {(a["User"], a["UserAuthNMethod"]) for a in asked} == {("client", "TLS")}
    pem = (scene.folder / "client-cert.pem").read_text()
    assert ssl.PEM_cert_to_DER_cert(asked[0]["RequestPeerCertificates"][0]) == (
        ssl.PEM_cert_to_DER_cert(pem)
    )
    created = next(r for r in scene.audit() if r["operation"] == "ContainerCreate")
    assert created["common_name"] == "client"
    assert created["address"].startswith("127.0.0.1:")
    assert "uid" not in created
    for flags in (strange, ()):
        refused = scene.docker(host, *tls, *flags, "version", "-f", "{{.Server.Version}}", code=1)
        assert "remote error: tls: " in refused.error_text
    assert shaken(scene, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        shaken(scene, ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ssl.SSLError):
        shaken(scene, ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256")


def shaken(scene: Scene, version: ssl.TLSVersion, ciphers: str = "ALL") -> str | None:
    """The version of a session that wants this one at most; its cipher keeps a secret forward."""
    context = client_context(str(scene.folder / "ca.pem"))
    context.load_cert_chain(scene.folder / "client-cert.pem", scene.folder / "client-key.pem")
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    with (
        socket.create_connection(("127.0.0.1", scene.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        cipher = secured.cipher()
        assert cipher is not None
        assert cipher[0].startswith("ECDHE-")
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        return secured.version()


def test_changes_are_written_down(scene: Scene) -> None:
    """Who (by the kernel's word), what, and with what result; refusals too, reading not."""
    docker = scene.daemon.docker
    docker("create", "--name", "box", "-e", "TOKEN=hunter2", "--label", "x=hunter2", "busybox")
    docker("ps", "-a")
    docker("start", "box")
    docker("rm", "-f", "box")
    docker("rm", "box", code=1)
    scene.docker(f"unix://{scene.reader}", "kill", "box", code=1)
    records = scene.audit()
    shown = [(r["operation"], r["status"], r["object"]) for r in records]
    made = records[0]["object"]
    assert len(made) == 64
    assert shown[0] == ("ContainerCreate", 201, made)
    assert ("ContainerStart", 204, "box") in shown
    assert shown[-3:] == [
        ("ContainerDelete", 204, "box"),
        ("ContainerDelete", 404, "box"),
        ("ContainerKill", 403, "box"),
    ]
    assert "does not permit" in records[-1]["error"]
    assert records[-1]["socket"] == f"unix://{scene.reader}"
    assert records[0]["parameters"] == {"name": "box"}
    assert all(r["uid"] == os.getuid() and r["pid"] > 0 for r in records)
    assert "hunter2" not in (scene.folder / "audit").read_text()
