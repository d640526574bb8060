"""Plugins are found where dockerd looks for them, in its order."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from services.errors import EngineError, NotFound
from services.plugins import PluginAddress, PluginDirectories


@pytest.fixture
def places(tmp_path: Path) -> PluginDirectories:
    """Folders of the test's own."""
    for name in ("run", "etc", "lib"):
        (tmp_path / name).mkdir()
    return PluginDirectories(tmp_path / "run", (tmp_path / "etc", tmp_path / "lib"))


def test_a_socket_comes_before_files(places: PluginDirectories, tmp_path: Path) -> None:
    """Directly in the folder, or in one of the plugin's name; a file there is no plugin."""
    (tmp_path / "etc" / "p.spec").write_text("tcp://127.0.0.1:80\n")
    assert places.find("p") == PluginAddress(url="http://127.0.0.1:80")
    (tmp_path / "run" / "p.sock").touch()
    assert places.find("p") == PluginAddress(url="http://127.0.0.1:80")
    (tmp_path / "run" / "p").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "run" / "p" / "p.sock"))
        assert places.find("p") == PluginAddress(socket=f"{tmp_path}/run/p/p.sock")


def test_files(places: PluginDirectories, tmp_path: Path) -> None:
    """A spec is an address; JSON may have TLS's files, and without a CA verifies nothing."""
    (tmp_path / "lib" / "a.spec").write_text("unix:///tmp/a.sock")
    assert places.find("a") == PluginAddress(socket="/tmp/a.sock")
    document = {
        "Name": "b",
        "Addr": "https://h:1",
        "TLSConfig": {"CAFile": "/ca", "CertFile": "/c"},
    }
    (tmp_path / "etc" / "b.json").write_text(json.dumps(document))
    assert places.find("b") == PluginAddress(url="https://h:1", ca_file="/ca", cert_file="/c")
    document["TLSConfig"] = {}
    (tmp_path / "etc" / "b.json").write_text(json.dumps(document))
    assert places.find("b").skip_verify


@pytest.mark.parametrize("name", ["nope", "../p", "", "a/b", "."])
def test_what_is_not_there(places: PluginDirectories, tmp_path: Path, name: str) -> None:
    """dockerd's words; a name that is a path leads nowhere."""
    (tmp_path / "p.spec").write_text("unix:///x")
    with pytest.raises(NotFound, match=r'plugin ".*" not found'):
        places.find(name)


@pytest.mark.parametrize("text", ["", "nonsense", "ftp://x", "unix://"])
def test_addresses_that_are_none(places: PluginDirectories, tmp_path: Path, text: str) -> None:
    """An error that names the file."""
    (tmp_path / "etc" / "p.spec").write_text(text)
    with pytest.raises(EngineError, match=r"p\.spec: Unknown protocol"):
        places.find("p")
