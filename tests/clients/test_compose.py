"""docker-compose (1.29, or a newer one) brings a project up, scales it and takes it down again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(900)]

LIMIT_S: Final = 240.0
PROJECT: Final = """\
version: "3.7"
services:
  web:
    image: busybox
    command: sh -c 'mkdir /w && echo hello > /w/index.html && exec httpd -f -p 80 -h /w'
    ports: ["127.0.0.1::80"]
    depends_on: [db]
    networks:
      front: {aliases: [www]}
      back: {}
  db:
    image: busybox
    command: sh -c 'echo kept > /data/file && exec sleep 1000'
    volumes: ["data:/data"]
    networks: [back]
  worker:
    image: busybox
    command: sleep 1000
    networks: [back]
volumes:
  data: {}
networks:
  front: {}
  back:
    driver_opts: {com.docker.network.driver.mtu: "1400"}
"""


class Project:
    """A project in a folder of its own."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.file = folder / "docker-compose.yml"
        self.file.write_text(PROJECT)

    def run(self, *words: str) -> str:
        """What docker-compose says to its standard output."""
        environment = {**os.environ, "DOCKER_HOST": self.daemon.host}
        command = ["docker-compose", "-f", str(self.file), "-p", "proj", *words]
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.file.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def names(self) -> list[str]:
        """The containers that run, as 1.29 names them; from 2 on there are dashes between."""
        listed = self.daemon.docker("ps", "--format", "{{.Names}}").text.replace("-", "_")
        return sorted(listed.split())


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose")
def test_a_project_from_up_to_down(daemon: Daemon, tmp_path: Path) -> None:
    """Three services with networks, a volume and a published port; nothing of it is left."""
    project = Project(daemon, tmp_path)
    project.run("up", "-d")
    assert project.names() == ["proj_db_1", "proj_web_1", "proj_worker_1"]
    networks = daemon.docker(
        "network", "ls", "--filter", "label=com.docker.compose.project=proj", "-q"
    )
    assert len(networks.text.split()) == 2
    port = project.run("port", "web", "80").strip()
    get = ("run", "--rm", "--network", "host", "busybox", "wget", "-qO-", f"http://{port}/")
    wait_until(lambda: daemon.docker(*get, code=None).text == "hello", "the web is up")
    db = daemon.docker("ps", "-q", "--filter", "label=com.docker.compose.service=db").text
    written = ("exec", db, "cat", "/data/file")
    wait_until(lambda: daemon.docker(*written, code=None).text == "kept", "the database is up")
    assert project.run("exec", "-T", "db", "cat", "/data/file").strip() == "kept"
    text = project.run("exec", "-T", "worker", "ip", "link", "show", "eth0")
    assert "mtu 1400" in text
    ids = daemon.docker("ps", "-q", "--no-trunc").text.split()
    project.run("up", "-d", "--scale", "worker=3")
    assert project.names() == [
        *("proj_db_1", "proj_web_1", "proj_worker_1", "proj_worker_2", "proj_worker_3")
    ]
    assert set(ids) <= set(daemon.docker("ps", "-q", "--no-trunc").text.split())
    project.file.write_text(PROJECT.replace("exec sleep 1000", "exec sleep 1001"))
    project.run("up", "-d", "-t", "0", "--no-deps", "db")
    assert project.names()[0] == "proj_db_1"
    assert project.run("exec", "-T", "db", "cat", "/data/file").strip() == "kept"
    project.run("down", "-v", "-t", "0")
    assert project.names() == []
    assert daemon.container_ids() == []
    assert daemon.docker("network", "ls", "-q", "-f", "type=custom").text == ""
    assert daemon.docker("volume", "ls", "-q").text == ""
    assert daemon.bridge.networks() == []
