"""Policies say what they permit, or are refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.api.access.operations import OPERATIONS, Bound, Kind
from services.api.access.scoped_host_config import (
    ABILITY_OF,
    SAFE,
    check_create,
    check_host_config,
    with_labels,
)
from services.api.access.scopes import ABILITIES, ALWAYS, Policy, ScopeError, parse_scoped_socket
from services.api.versions.create_body import CreateBody
from services.api.wire.json_bodies import decode
from services.containers.config import HostConfig
from services.errors import Forbidden


def parse(policy: dict[str, Any], **more: str) -> Policy:
    """A policy as the configuration has it."""
    return parse_scoped_socket(json.dumps({"path": "/run/x.sock", "policy": policy, **more})).policy


def test_read_only() -> None:
    """All that reads; with labels what can be kept to them."""
    reading = {row.id for row in OPERATIONS if row.kind is Kind.READ}
    assert parse({"read-only": True}).operations == reading
    bound = parse({"read-only": True, "labels": {"team": "blue"}})
    never = {row.id for row in OPERATIONS if row.bound is Bound.NEVER}
    assert bound.operations == reading - never
    assert bound.operations >= {"ContainerList", "ContainerInspect", "SystemEvents", "ImageList"}
    assert not bound.operations & {"VolumeList", "NetworkInspect", "SystemDataUsage"}
    assert bound.labels == {"team": "blue"}


def test_a_list_of_operations() -> None:
    """Those, and what tells clients whom they speak to."""
    policy = parse({"operations": ["ContainerLogs"], "allow": ["ports"]})
    assert policy.operations == {"ContainerLogs"} | ALWAYS
    assert policy.abilities == {"ports"}
    made = parse_scoped_socket(
        '{"path": "unix:///r/s", "group": "ci", "policy": {"read-only": true}}'
    )
    assert (made.path, made.group) == (Path("/r/s"), "ci")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({}, "the policy permits nothing: set read-only, or name operations"),
        ({"operations": ["Nope"]}, "there is no operation Nope"),
        (
            {"operations": ["PluginCreate"]},
            "PluginCreate gives whoever may ask for it root, and cannot be permitted",
        ),
        (
            {"operations": ["VolumeCreate"], "labels": {"a": "b"}},
            "VolumeCreate cannot be kept to containers with labels",
        ),
        ({"read-only": True, "allow": ["x"]}, "nothing called x can be allowed; use binds, "),
        ({"read-only": True, "labels": {"": "b"}}, "a label needs a name"),
        ({"read-only": True, "labels": {"name": "b"}}, "events have an attribute name, which is"),
    ],
)
def test_refused_policies(policy: dict[str, Any], message: str) -> None:
    """Each with its path and a sentence."""
    with pytest.raises(ScopeError) as caught:
        parse(policy)
    assert str(caught.value).startswith(f"scoped-sockets: /run/x.sock: {message}")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"path": "x", "policy": {"read-only": true}}',
        '{"path": "/x", "policy": {"read_only": true}}',
        '{"path": "/x", "mode": 1, "policy": {"read-only": true}}',
    ],
)
def test_what_is_no_socket(text: str) -> None:
    """A name that is written wrong is not passed over."""
    with pytest.raises(ScopeError):
        parse_scoped_socket(text)


def test_every_member_of_a_host_config_is_classified() -> None:
    """A new one is refused until it has a row."""
    assert ABILITY_OF.keys() == set(HostConfig.__struct_fields__)
    assert set(ABILITY_OF.values()) <= {SAFE, *ABILITIES}


NONE = Policy(operations=frozenset())


@pytest.mark.parametrize(
    ("member", "value", "ability"),
    [
        ("Privileged", True, "privileged"),
        ("Binds", ["/:/host"], "binds"),
        ("Binds", ["data:/x"], "volumes"),
        ("Mounts", [{"Type": "bind", "Source": "/", "Target": "/x"}], "binds"),
        ("Mounts", [{"Type": "volume", "Source": "data", "Target": "/x"}], "volumes"),
        (
            "Mounts",
            [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": "l"}}}],
            "binds",
        ),
        ("NetworkMode", "host", "host-namespaces"),
        ("NetworkMode", "container:a", "host-namespaces"),
        ("NetworkMode", "other", "networks"),
        ("PidMode", "host", "host-namespaces"),
        ("IpcMode", "container:a", "host-namespaces"),
        ("UTSMode", "host", "host-namespaces"),
        ("UsernsMode", "host", "host-namespaces"),
        ("CgroupnsMode", "host", "host-namespaces"),
        ("CgroupParent", "/x", "host-namespaces"),
        ("Devices", [{"PathOnHost": "/dev/sda"}], "devices"),
        ("DeviceCgroupRules", ["c 1:1 rwm"], "devices"),
        ("DeviceRequests", [{"Driver": "cdi"}], "devices"),
        ("CapAdd", ["SYS_ADMIN"], "capabilities"),
        ("SecurityOpt", ["seccomp=unconfined"], "security"),
        ("Sysctls", {"net.x": "1"}, "security"),
        ("MaskedPaths", [], "security"),
        ("ReadonlyPaths", [], "security"),
        ("OomKillDisable", True, "security"),
        ("OomScoreAdj", -10, "security"),
        ("Runtime", "other", "runtimes"),
        ("LogConfig", {"Type": "syslog"}, "log-drivers"),
        ("LogConfig", {"Config": {"tag": "x"}}, "log-drivers"),
        ("Links", ["a:b"], "links"),
        ("VolumesFrom", ["a"], "links"),
        ("PortBindings", {"80/tcp": [{"HostPort": "80"}]}, "ports"),
        ("PublishAllPorts", True, "ports"),
    ],
)
def test_dangerous_members(member: str, value: object, ability: str) -> None:
    """Refused by name, and let through by the ability that is for them alone."""
    # In the lower case that Go takes too: it is the decoded value that is judged.
    host = decode(json.dumps({member.lower(): value}).encode(), HostConfig)
    with pytest.raises(Forbidden, match=f"on this socket: {ability} is not allowed"):
        check_host_config(host, NONE)
    check_host_config(host, Policy(operations=frozenset(), abilities=frozenset({ability})))


def test_harmless_members() -> None:
    """Bounds, private modes, what is inside the container; and members at their defaults."""
    check_host_config(
        decode(
            json.dumps(
                {
                    "Memory": 1 << 20,
                    "NetworkMode": "none",
                    "IpcMode": "private",
                    "CgroupnsMode": "private",
                    "AutoRemove": True,
                    "RestartPolicy": {"Name": "always"},
                    "Tmpfs": {"/t": ""},
                    "Mounts": [
                        {"Type": "tmpfs", "Target": "/x"},
                        {"Type": "volume", "Target": "/y"},
                    ],
                    "OomScoreAdj": 500,
                    "OomKillDisable": False,
                    "MaskedPaths": None,
                    "Privileged": False,
                    "Binds": [],
                    "CapAdd": None,
                    "LogConfig": {"Type": "none"},
                    "PortBindings": {},
                }
            ).encode(),
            HostConfig,
        ),
        NONE,
    )


def test_a_created_container_gets_the_labels() -> None:
    """Over the client's own; the rest of what was asked for is as it was."""
    policy = Policy(operations=frozenset(), labels={"team": "blue"})
    asked = decode(
        b'{"Image":"b","labels":{"team":"red","x":"y"},"HostConfig":{"memory":5}}', CreateBody
    )
    check_create(asked, policy)
    made = decode(msgspec.json.encode(with_labels(asked, policy)), CreateBody)
    assert made.labels == {"team": "blue", "x": "y"}
    assert msgspec.structs.replace(made, labels=asked.labels) == asked


def test_networks_of_a_create() -> None:
    """By the networking configuration and by an address of its own."""
    for body in (
        b'{"NetworkingConfig":{"EndpointsConfig":{"other":{}}}}',
        b'{"MacAddress":"02:00:00:00:00:01"}',
    ):
        with pytest.raises(Forbidden, match=r"NetworkingConfig .* networks is not allowed"):
            check_create(decode(body, CreateBody), NONE)
    check_create(
        decode(b'{"NetworkingConfig":{"EndpointsConfig":{"bridge":{}}}}', CreateBody), NONE
    )
