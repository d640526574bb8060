"""Edits in an OCI spec."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.containers.cdi.edits import apply_edits
from services.containers.cdi.names import CdiError
from services.containers.cdi.schema import Edits
from tests.services.containers.cdi.samples import oci_spec

NULL = os.stat("/dev/null")


def edited(spec: dict[str, Any] | None = None, **edits: Any) -> dict[str, Any]:
    """A spec after these edits."""
    spec = spec or oci_spec()
    apply_edits(spec, msgspec.convert(edits, Edits))
    return spec


def test_a_variable_that_is_there_keeps_its_place() -> None:
    """Others come at the end."""
    spec = edited(oci_spec(env=["A=1", "PATH=/bin"]), env=["B=2", "A=3"])
    assert spec["process"]["env"] == ["A=3", "PATH=/bin", "B=2"]


def test_what_a_device_node_leaves_out_is_the_hosts() -> None:
    """Type and numbers; the mode is left to the runtime."""
    spec = edited(deviceNodes=[{"path": "/dev/mine", "hostPath": "/dev/null"}])
    assert spec["linux"]["devices"] == [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}]
    assert spec["linux"]["resources"]["devices"][-1] == {
        "allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm",
    }  # fmt: skip


def test_a_device_node_may_say_all_of_it() -> None:
    """Then the host's need not even be there."""
    node = {
        "path": "/dev/none", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600, "uid": 0,
        "gid": 5, "permissions": "r",
    }  # fmt: skip
    spec = edited(oci_spec(user={"uid": 1000, "gid": 0}), deviceNodes=[node])
    assert spec["linux"]["devices"] == [
        {"path": "/dev/none", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600, "uid": 0,
         "gid": 5},
    ]  # fmt: skip
    assert spec["linux"]["resources"]["devices"][-1]["access"] == "r"


def test_a_device_belongs_to_the_containers_user() -> None:
    """Unless the edits say whose it is."""
    spec = edited(
        oci_spec(user={"uid": 1000, "gid": 100}),
        deviceNodes=[{"path": "/dev/null"}, {"path": "/dev/zero", "uid": 7}],
    )
    assert [(d["uid"], d["gid"]) for d in spec["linux"]["devices"]] == [(1000, 100), (7, 100)]


def test_the_last_device_of_a_path_is_the_one() -> None:
    """It replaces one of --device, too; without permissions it cannot be opened."""
    spec = oci_spec()
    spec["linux"]["devices"] = [{"path": "/dev/x", "type": "c", "major": 9, "minor": 9}]
    node = {"path": "/dev/x", "hostPath": "/dev/null", "permissions": "none"}
    edited(spec, deviceNodes=[node])
    assert [d["major"] for d in spec["linux"]["devices"]] == [1]
    assert spec["linux"]["resources"]["devices"][-1]["access"] == ""


def test_a_fifo_has_no_number_and_no_rule(tmp_path: Path) -> None:
    """Cgroups know devices only."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    spec = edited(deviceNodes=[{"path": "/run/f", "hostPath": str(fifo)}])
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert spec["linux"]["devices"] == [{"path": "/run/f", "type": "p", "major": 0, "minor": 0}]
    assert len(spec["linux"]["resources"]["devices"]) == 1


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (
            {"path": "/dev/none"},
            'failed to stat CDI host device "/dev/none": no such file or directory',
        ),
        (
            {"path": "/etc/passwd"},
            'failed to stat CDI host device "/etc/passwd": not a device node',
        ),
        (
            {"path": "/dev/x", "hostPath": "/dev/null", "type": "b"},
            'CDI device ("/dev/x", "/dev/null"), host type mismatch (b, c)',
        ),
    ],
)
def test_a_device_that_the_host_lacks(node: dict[str, Any], why: str) -> None:
    """The reasons are those of CDI's library."""
    with pytest.raises(CdiError) as failure:
        edited(deviceNodes=[node])
    assert str(failure.value) == why


def test_mounts_replace_what_is_there_and_stand_in_order() -> None:
    """Parents before children."""
    spec = edited(
        mounts=[
            {"hostPath": "/h/deep", "containerPath": "/a/b/c", "options": ["ro", "bind"]},
            {"hostPath": "/new", "containerPath": "/data", "type": "bind"},
        ]
    )
    assert [(m["destination"], m["source"]) for m in spec["mounts"]] == [
        ("/proc", "proc"), ("/data", "/new"), ("/a/b/c", "/h/deep"),
    ]  # fmt: skip
    assert spec["mounts"][-1]["options"] == ["ro", "bind"]


def test_hooks_go_to_their_kind() -> None:
    """In order, with what they have."""
    spec = edited(
        hooks=[
            {"hookName": "createContainer", "path": "/a", "args": ["a", "x"], "timeout": 3},
            {"hookName": "createContainer", "path": "/b", "env": ["A=1"]},
            {"hookName": "poststop", "path": "/c"},
        ]
    )
    assert spec["hooks"] == {
        "createContainer": [
            {"path": "/a", "args": ["a", "x"], "timeout": 3},
            {"path": "/b", "env": ["A=1"]},
        ],
        "poststop": [{"path": "/c"}],
    }


def test_groups_are_added_once_and_never_roots() -> None:
    """CDI's library passes over 0."""
    spec = edited(
        oci_spec(user={"uid": 0, "gid": 0, "additionalGids": [0, 44]}),
        additionalGids=[44, 0, 109, 109],
    )
    assert spec["process"]["user"]["additionalGids"] == [0, 44, 109]


def test_intel_rdt_as_far_as_runc_1_1_has_it() -> None:
    """Classes and schemas."""
    spec = edited(intelRdt={"closID": "g", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"})
    assert spec["linux"]["intelRdt"] == {
        "closID": "g", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20",
    }  # fmt: skip


@pytest.mark.parametrize(
    "edits",
    [
        {"netDevices": [{"hostInterfaceName": "eth7", "name": "a"}]},
        {"intelRdt": {"schemata": ["L3:0=f"]}},
        {"intelRdt": {"enableMonitoring": True}},
    ],
)
def test_what_the_runtime_would_pass_over_is_refused(edits: dict[str, Any]) -> None:
    """A container without what its device needs is worse than none."""
    with pytest.raises(CdiError, match=r"runc 1\.1"):
        edited(**edits)
