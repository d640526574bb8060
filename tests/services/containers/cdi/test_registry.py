"""Finding devices in files: priorities, conflicts, broken ones, changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.containers.cdi import CdiDevices
from services.containers.config import DeviceRequest
from services.errors import EngineError
from tests.services.containers.cdi.samples import KIND, document, oci_spec, write

YAML = """\
cdiVersion: "0.6.0"
kind: vendor.com/class
devices:
  - name: dev0
    containerEdits:
      env:
        - YAML=1
containerEdits:
  env: ["ALL=yaml"]
"""


def env_with(devices: CdiDevices, *names: str) -> list[str]:
    """The environment of a container that asks for these."""
    spec = oci_spec()
    devices.inject(spec, [DeviceRequest(driver="cdi", device_ids=list(names))])
    return list(spec["process"]["env"])


def test_devices_come_from_json_and_yaml(tmp_path: Path) -> None:
    """Files with other names, and files in folders below, are none."""
    write(tmp_path, "a.json", document("a"))
    write(tmp_path, "b.yaml", YAML)
    write(tmp_path, "c.yml", YAML)
    write(tmp_path, "d.json.bak", document("d"))
    write(tmp_path / "below", "e.json", document("e"))
    (tmp_path / "f.json").mkdir()
    devices = CdiDevices(lambda: [str(tmp_path), str(tmp_path / "missing")])
    assert devices.list().devices == (f"{KIND}=a", f"{KIND}=dev0")
    assert devices.list().warnings == ()


def test_what_a_file_says_of_all_comes_once_and_first(tmp_path: Path) -> None:
    """Then the devices', in the order in which they were asked for."""
    write(tmp_path, "a.json", document("a", "b", containerEdits={"env": ["ALL=1", "A=0"]}))
    devices = CdiDevices(lambda: [str(tmp_path)])
    assert env_with(devices, f"{KIND}=b", f"{KIND}=a") == ["PATH=/bin", "ALL=1", "A=1", "B=1"]


def test_the_later_folder_counts(tmp_path: Path) -> None:
    """/var/run/cdi over /etc/cdi, whatever the files are called."""
    write(tmp_path / "1", "z.json", document("dev0", containerEdits={"env": ["FROM=1"]}))
    write(tmp_path / "2", "a.json", document("dev0", containerEdits={"env": ["FROM=2"]}))
    first, second = str(tmp_path / "1"), str(tmp_path / "2")
    assert "FROM=2" in env_with(CdiDevices(lambda: [first, second]), f"{KIND}=dev0")
    assert "FROM=1" in env_with(CdiDevices(lambda: [second, first]), f"{KIND}=dev0")


def test_one_name_twice_in_a_folder_is_nobodys(tmp_path: Path) -> None:
    """Neither is taken, and both files are named; other devices in them work."""
    one = write(tmp_path, "a.json", document("x", "a"))
    two = write(tmp_path, "b.json", document("x", "b"))
    devices = CdiDevices(lambda: [str(tmp_path)])
    listing = devices.list()
    assert listing.devices == (f"{KIND}=a", f"{KIND}=b")
    text = f'conflicting device "{KIND}=x" (specs "{two}", "{one}")'
    assert listing.warnings == tuple(
        f"CDI: Error associated with spec file {path}: {text}" for path in (one, two)
    )
    with pytest.raises(EngineError) as failure:
        env_with(devices, f"{KIND}=x", f"{KIND}=a", f"{KIND}=y")
    assert str(failure.value) == (
        f"CDI device injection failed: unresolvable CDI devices {KIND}=x, {KIND}=y"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "failed to parse CDI Spec"),
        ("[]", "failed to parse CDI Spec"),
        ('{"cdiVersion": "0.6.0"}', "invalid CDI Spec: invalid vendor. empty name"),
        ('{"cdiVersion": 6}', "failed to parse CDI Spec"),
        ("[" * 100_000, "failed to parse CDI Spec"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_broken_file_hides_no_other(tmp_path: Path, content: str, why: str, suffix: str) -> None:
    """It is told of in /info, and the others' devices work."""
    broken = write(tmp_path, f"broken.{suffix}", content)
    write(tmp_path, "good.json", document("a"))
    listing = CdiDevices(lambda: [str(tmp_path)]).list()
    assert listing.devices == (f"{KIND}=a",)
    (warning,) = listing.warnings
    assert warning.startswith(
        f"CDI: Error associated with spec file {broken}: failed to load CDI Spec {why}"
    )


def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    """A link to nowhere, say."""
    (tmp_path / "a.json").symlink_to(tmp_path / "missing")
    (warning,) = CdiDevices(lambda: [str(tmp_path)]).list().warnings
    assert "No such file or directory" in warning


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    """Drivers write them while the engine runs; a file that stays as it is, is read once."""
    path = write(tmp_path, "a.json", document("a"))
    devices = CdiDevices(lambda: [str(tmp_path)])
    assert env_with(devices, f"{KIND}=a")
    new = write(tmp_path, "a.json.new", document("b"))
    new.rename(path)
    assert devices.list().devices == (f"{KIND}=b",)
    info = path.stat()
    path.write_text(path.read_text().replace('"b"', '"c"'))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert devices.list().devices == (f"{KIND}=b",)  # to all appearances the same
    path.unlink()
    assert devices.list().devices == ()


def test_a_request_without_a_device_changes_nothing(tmp_path: Path) -> None:
    """Another driver's is refused in dockerd's words; what `gpus` tells apart comes here."""
    spec, devices = oci_spec(), CdiDevices(lambda: [str(tmp_path)])
    devices.inject(spec, [DeviceRequest(driver="cdi")])
    assert spec == oci_spec()
    with pytest.raises(EngineError, match='could not select device driver "other"'):
        devices.inject(spec, [DeviceRequest(driver="other", device_ids=["0"])])
