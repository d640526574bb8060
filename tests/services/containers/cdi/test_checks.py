"""What is a file of CDI's and what is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.containers.cdi.checks import check_spec
from services.containers.cdi.names import CdiError
from services.containers.cdi.schema import Spec
from tests.services.containers.cdi.samples import document, with_edits

NODE = {"path": "/dev/x"}
HOOK = {"hookName": "createRuntime", "path": "/bin/hook"}
MOUNT = {"hostPath": "/a", "containerPath": "/b"}


def check(content: dict[str, Any]) -> None:
    """As the registry does."""
    check_spec(msgspec.convert(content, Spec))


@pytest.mark.parametrize(
    "content",
    [
        *(document(version=version) for version in ("0.3.0", "v0.4.0", "0.8.0", "1.0.0", "1.1.0")),
        document("0", "dev-1.x:y_z", version="0.5.0"),
        document(kind="v.e-n_d0r/c.l-a_ss", version="0.6.0"),
        document(annotations={"vendor.com/a": "x"}, version="0.6.0"),
        document(containerEdits={"additionalGids": [5]}, version="0.7.0"),
        with_edits("0.3.0", deviceNodes=[{**NODE, "type": "u", "major": 1, "permissions": "rw"}]),
        with_edits("0.3.0", deviceNodes=[{**NODE, "permissions": "none"}]),
        with_edits("0.3.0", hooks=[{**HOOK, "args": ["a"], "env": ["A=1"], "timeout": 5}]),
        with_edits("0.4.0", mounts=[{**MOUNT, "type": "bind", "options": ["ro"]}]),
        with_edits("0.7.0", intelRdt={"closID": "/"}),
        with_edits("1.1.0", netDevices=[{"hostInterfaceName": "eth7", "name": "a"}]),
    ],
)
def test_what_is_one(content: dict[str, Any]) -> None:
    """Each feature in the first version that has it."""
    check(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (document(version=""), 'invalid version ""'),
        (document(version="0.9.0"), 'invalid version "0.9.0"'),
        (document(kind="class"), "invalid vendor. empty name"),
        (document(kind="v/0class"), 'invalid class. "0class"'),
        (document(kind="vendor-/class"), 'invalid vendor. "vendor-"'),
        (document(devices=[]), "invalid spec, no devices"),
        (document("a", "a"), 'invalid spec, multiple device "a"'),
        (document("a="), 'failed add device "a=": invalid device name "a="'),
        (with_edits(), 'failed add device "dev0": empty container edits'),
        (document("0", version="0.4.0"), "the spec version must be at least v0.5.0"),
        (document(kind="v/c.d", version="0.5.0"), "the spec version must be at least v0.6.0"),
        (document(annotations={"a": ""}, version="0.5.0"), "must be at least v0.6.0"),
        (document(annotations={"a b": ""}), 'invalid annotation key "a b"'),
        (document(annotations={"a": "x" * 300_000}), "annotations size 300001 is larger"),
        (with_edits("0.3.0", mounts=[{**MOUNT, "type": "bind"}]), "must be at least v0.4.0"),
        (with_edits("0.4.0", deviceNodes=[{**NODE, "hostPath": "/y"}]), "at least v0.5.0"),
        (with_edits("0.6.0", intelRdt={"closID": "x"}), "must be at least v0.7.0"),
        (with_edits("1.0.0", intelRdt={"enableMonitoring": True}), "must be at least v1.1.0"),
        (with_edits("1.0.0", netDevices=[{"hostInterfaceName": "e", "name": "f"}]), "v1.1.0"),
        (with_edits(env=["=x"]), 'invalid container edits: invalid environment variable "=x"'),
        (with_edits(deviceNodes=[{}]), "invalid (empty) device path"),
        (with_edits(deviceNodes=[{**NODE, "type": "x"}]), 'device "/dev/x": invalid type "x"'),
        (with_edits(deviceNodes=[{**NODE, "major": -1}]), "invalid (negative) device number -1:0"),
        (with_edits(deviceNodes=[{**NODE, "permissions": "rx"}]), 'invalid permissions "rx"'),
        (with_edits(hooks=[{"hookName": "x", "path": "/x"}]), 'invalid hook name "x"'),
        (with_edits(hooks=[{**HOOK, "path": ""}]), 'invalid hook "createRuntime" with empty path'),
        (with_edits(hooks=[{**HOOK, "env": ["A"]}]), 'invalid environment variable "A"'),
        (with_edits(mounts=[{"containerPath": "/a"}]), "invalid mount, empty host path"),
        (with_edits(mounts=[{"hostPath": "/a"}]), "invalid mount, empty container path"),
        (with_edits(intelRdt={"closID": "a/b"}), "invalid ClosID"),
        (with_edits(netDevices=[{"name": "a"}]), "empty HostInterfaceName"),
        (with_edits(netDevices=[{"hostInterfaceName": "a"}]), "empty Name"),
    ],
)
def test_what_is_none(content: dict[str, Any], why: str) -> None:
    """The reason names what is wrong."""
    with pytest.raises(CdiError) as failure:
        check(content)
    assert why in str(failure.value)


def test_unknown_members_are_no_edits() -> None:
    """A misspelt member would leave the container without its device."""
    with pytest.raises(msgspec.ValidationError):
        check(with_edits(deviceNode=[NODE]))
