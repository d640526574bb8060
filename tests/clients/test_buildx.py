"""`docker build` by the buildx plugin, where there is one. Debian 12 has none."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.building import no_images, run
from tests.support.daemon import Daemon, wait_until

__all__ = ["no_images"]

PLUGIN = "cli-plugins/docker-buildx"
PLACES = (
    Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")),
    *(Path(place) for place in ("/usr/local/lib/docker", "/usr/libexec/docker", "/usr/lib/docker")),
)
FOUND = next((place / PLUGIN for place in PLACES if (place / PLUGIN).is_file()), None)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.clients,
    pytest.mark.skipif(FOUND is None, reason="docker buildx is not installed"),
]
LIMIT_S = 90


@pytest.fixture
def environment(daemon: Daemon, tmp_path: Path) -> Mapping[str, str]:
    """A configuration of its own, with the plugin in it; nobody says which builder."""
    assert FOUND is not None
    config = tmp_path / "config"
    (config / "cli-plugins").mkdir(parents=True)
    shutil.copy(FOUND, config / PLUGIN)
    found = {**daemon.environment(), "DOCKER_CONFIG": str(config)}
    del found["DOCKER_BUILDKIT"]
    return found


def docker(
    environment: Mapping[str, str], *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Its status, whatever it is, and output."""
    return subprocess.run(
        ["docker", *words],
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def write(folder: Path, files: Mapping[str, str]) -> str:
    """A context; where it is."""
    for name, text in files.items():
        path = folder / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder / "context")


def test_the_flags(daemon: Daemon, tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Most of them at once; what is ignored is not sent; the ids agree."""
    dockerfile = (
        "FROM busybox AS one\n"
        "ARG A\n"
        "RUN --mount=type=secret,id=s cat /run/secrets/s /etc/hosts > /out; ulimit -n >> /out\n"
        "FROM one AS two\n"
        "COPY . /c\n"
        "RUN echo $(ls /c) >> /out\n"
        "FROM two\n"
        "RUN false\n"
    )
    path = write(tmp_path, {"sub/My": dockerfile, "f": "", "g.log": "", ".dockerignore": "*.log\n"})
    (tmp_path / "secret").write_text("hush\n")
    words = (
        *("build", "--progress=plain", "-t", "x:1", "-t", "x:2", "-f", f"{path}/sub/My"),
        *("--build-arg", "A=1", "--label", "k=v", "--target", "two", "--network", "none"),
        *("--add-host", "there:1.2.3.4", "--ulimit", "nofile=111:222", "--shm-size", "8m"),
        *("--secret", f"id=s,src={tmp_path}/secret", "--iidfile", f"{tmp_path}/iid"),
        *("--metadata-file", f"{tmp_path}/metadata", "--no-cache"),
    )
    ended = docker(environment, *words, path)
    assert ended.returncode == 0, ended.stderr
    shown = ended.stderr.decode()
    assert "[one 2/2] RUN --mount=type=secret" in shown
    assert "naming to docker.io/library/x:2 done" in shown
    image = json.loads(daemon.docker("inspect", "x:2").text)[0]
    assert image["Config"]["Labels"] == {"k": "v"}
    assert (tmp_path / "iid").read_text() == image["Id"]
    metadata = json.loads((tmp_path / "metadata").read_text())
    assert metadata["containerimage.digest"] == image["Id"]
    said = run(daemon, "x:1", "cat", "/out")
    assert said.startswith("hush")
    assert re.search(r"1\.2\.3\.4\s+there", said)
    assert said.splitlines()[-2:] == ["111", "f sub"]
    quiet = docker(environment, "build", "-q", *words[2:-1], path)
    assert quiet.stdout.decode().strip() == image["Id"]


def test_a_step_that_fails(daemon: Daemon, tmp_path: Path, environment: Mapping[str, str]) -> None:
    """What it said, the place in the Dockerfile, the status; and no image."""
    path = write(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo because; exit 3\n"})
    ended = docker(environment, "build", "--progress=plain", "--network=none", path)
    shown = ended.stderr.decode()
    assert ended.returncode == 1
    assert "because" in shown
    assert "2 | >>> RUN echo because; exit 3" in shown
    assert "did not complete successfully: exit code: 3" in shown
    assert daemon.image_names() == ["busybox:latest"]


def test_contexts_from_standard_input(
    daemon: Daemon, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """A Dockerfile alone, one beside a directory, and an archive of all."""
    path = write(tmp_path, {"Dockerfile": "FROM busybox\nCOPY f /\n", "f": "F"})
    alone = docker(environment, "build", "-t", "a:1", "-", stdin=b"FROM busybox\nLABEL a=b\n")
    assert alone.returncode == 0, alone.stderr
    dockerfile = b"FROM busybox\nCOPY f /g\n"
    beside = docker(environment, "build", "-t", "a:2", "-f-", path, stdin=dockerfile)
    assert beside.returncode == 0, beside.stderr
    assert run(daemon, "a:2", "cat", "/g") == "F"
    packed = subprocess.run(["tar", "-C", path, "-c", "."], capture_output=True, check=True)
    whole = docker(environment, "build", "-t", "a:3", "-", stdin=packed.stdout)
    assert whole.returncode == 0, whole.stderr
    assert run(daemon, "a:3", "cat", "/f") == "F"


def test_an_interrupt(daemon: Daemon, tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Ctrl-C ends the build: no container and no file of it stays."""
    path = write(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo up; sleep 1000\n"})
    words = ["docker", "build", "--progress=plain", "--network=none", path]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.match(rb"#\d+ [\d.]+ up", line):
                break
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() is not None
        assert process.wait(LIMIT_S) != 0
    wait_until(lambda: not daemon.container_ids(), "the command's container is gone")
    wait_until(lambda: not list((daemon.data_root / "build").iterdir()), "its files are gone")


def test_what_buildx_says_of_the_builder(
    daemon: Daemon, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Its list, its details, what it has kept, and that pruned."""
    path = write(tmp_path, {"Dockerfile": "FROM busybox\nRUN echo x > /x\n"})
    assert docker(environment, "build", "--network=none", path).returncode == 0
    assert b"running" in docker(environment, "buildx", "ls").stdout
    assert b"linux/" in docker(environment, "buildx", "inspect").stdout
    assert b"Total:" in docker(environment, "buildx", "du").stdout
    daemon.docker("image", "prune", "-f")
    pruned = docker(environment, "buildx", "prune", "-af")
    assert pruned.returncode == 0, pruned.stderr
    assert re.search(rb"Total:\s+0B", docker(environment, "buildx", "du").stdout)
