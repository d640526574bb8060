"""Containers on the wire fit the definition, and say what is true of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.api.types.containers import (
    inspect_to_wire,
    state_to_wire,
    status_text,
    summary_to_wire,
)
from services.api.versions.version import ApiVersion
from services.containers import Container, State
from services.containers.config import (
    ContainerConfig,
    EndpointIPAMConfig,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    LogConfig,
    Mount,
    RestartPolicy,
)
from services.containers.health.rules import Health, HealthStatus, ProbeResult
from services.containers.model import Status
from services.containers.spec import MountPoint
from tests.services.api.containers import (
    BIND,
    BORN_NS,
    SECOND_NS,
    container,
    exited,
    filled,
    running,
)
from tests.services.api.openapi import require_definition

PLACES = {
    "ResolvConfPath": "/x/resolv.conf",
    "HostnamePath": "/x/hostname",
    "HostsPath": "/x/hosts",
    "LogPath": "/x/log.json",
}

FULL = ContainerConfig(
    hostname="h", user="1:1", tty=True, open_stdin=True, attach_stdout=True, image="busybox",
    exposed_ports={"80/tcp": {}}, env=["A=1"], cmd=["sh"], entrypoint=["/init"],
    healthcheck=HealthConfig(test=["CMD", "true"], interval=SECOND_NS), labels={"a": "1"},
    stop_signal="SIGINT", stop_timeout=3, shell=["/bin/sh"], working_dir="/",
)  # fmt: skip
FULL_HOST = filled(HostConfig(
    binds=["/srv:/data:ro"], network_mode="bridge", auto_remove=True, memory=1 << 24,
    log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
    restart_policy=RestartPolicy(name="no"), mounts=[Mount(type="bind", source="/a", target="/b")],
    cap_add=["NET_ADMIN"], dns=["1.1.1.1"], sysctls={"net.core.somaxconn": "1"},
    tmpfs={"/t": "size=1m"}, init=True,
    cgroupns_mode="private", isolation="", memory_swappiness=10, pids_limit=5,
))  # fmt: skip

CHECKED = ContainerConfig(
    image="busybox", cmd=["sh"], healthcheck=HealthConfig(test=["CMD", "true"])
)
RESULT = ProbeResult(
    started_at_ns=BORN_NS, ended_at_ns=BORN_NS + SECOND_NS // 2, exit_code=-1, output="late"
)


def in_health(health: HealthStatus, state: State = State.RUNNING) -> Container:
    """A container with a health check, in its first run."""
    one = container(config=CHECKED, status=running(state=state))
    one.set_health(Health(status=health, failing_streak=2, log=(RESULT,)))
    return one


VARIANTS: dict[str, Container] = {
    "starting": in_health(HealthStatus.STARTING),
    "healthy": in_health(HealthStatus.HEALTHY),
    "unhealthy": in_health(HealthStatus.UNHEALTHY),
    "paused-with-check": in_health(HealthStatus.UNHEALTHY, State.PAUSED),
    "created-with-check": container(config=CHECKED),
    "created": container(),
    "created-with-everything": container(config=FULL, host_config=FULL_HOST, mounts=[BIND]),
    "created-without-image": container(image_manifest=None),
    "running": container(status=running()),
    "running-with-everything": container(
        config=FULL, host_config=FULL_HOST, mounts=[BIND], status=running()
    ),
    "running-on-the-host": container(
        host_config=filled(HostConfig(network_mode="host")),
        networks={"host": EndpointSettings()},
        status=running(networks={"host": EndpointSettings(network_id="1", endpoint_id="2")}),
    ),
    "with-a-wanted-address": container(
        networks={
            "bridge": EndpointSettings(
                ipam_config=EndpointIPAMConfig(ipv4_address="172.17.0.9"), aliases=["x"]
            )
        }
    ),
    "paused": container(status=running(state=State.PAUSED)),
    "restarting": container(status=exited(1, state=State.RESTARTING, restart_count=2)),
    "exited": container(status=exited()),
    "killed-for-memory": container(status=exited(oom_killed=True, error="killed")),
    "removing": container(status=exited(state=State.REMOVING)),
    "dead": container(status=exited(state=State.DEAD)),
}
NOW_NS = BORN_NS + 121 * SECOND_NS


def encoded(value: object) -> Any:
    """As the client gets it."""
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_summary_fits_the_definition(variant: str) -> None:
    """In every state, with and without tty, mounts and networks."""
    one = VARIANTS[variant]
    wire = summary_to_wire(one, status=status_text(one, NOW_NS), image="busybox")
    require_definition().validate("ContainerList", 200, encoded([wire]))


@pytest.mark.parametrize("execs", [[], ["e" * 64]])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_inspection_fits_the_definition(variant: str, execs: list[str]) -> None:
    """In every state, with and without tty, mounts and networks."""
    wire = inspect_to_wire(VARIANTS[variant], places=PLACES, execs=execs)
    require_definition().validate("ContainerInspect", 200, encoded(wire))


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        ("created", "Created"),
        ("running", "Up 2 minutes"),
        ("starting", "Up 2 minutes (health: starting)"),
        ("healthy", "Up 2 minutes (healthy)"),
        ("unhealthy", "Up 2 minutes (unhealthy)"),
        ("paused-with-check", "Up 2 minutes (Paused)"),
        ("created-with-check", "Created"),
        ("paused", "Up 2 minutes (Paused)"),
        ("restarting", "Restarting (1) About a minute ago"),
        ("exited", "Exited (137) About a minute ago"),
        ("removing", "Removal In Progress"),
        ("dead", "Dead"),
    ],
)
def test_the_status_that_people_read(variant: str, text: str) -> None:
    """dockerd's words for each state."""
    assert status_text(VARIANTS[variant], NOW_NS) == text


@pytest.mark.parametrize(
    ("state", "true"),
    [
        (State.CREATED, set()),
        (State.RUNNING, {"Running"}),
        (State.PAUSED, {"Running", "Paused"}),
        (State.RESTARTING, {"Running", "Restarting"}),
        (State.EXITED, set()),
        (State.REMOVING, set()),
        (State.DEAD, {"Dead"}),
    ],
)
def test_dockers_booleans(state: State, true: set[str]) -> None:
    """Derived from the one state; paused and restarting count as running."""
    wire = state_to_wire(container(status=Status(state=state)))
    booleans = ("Running", "Paused", "Restarting", "Dead", "OOMKilled")
    assert {name for name in booleans if wire[name]} == true
    assert wire["Status"] == state.value


def test_health_is_shown_once_there_is_some() -> None:
    """Not before the first start, and not without a check."""
    assert state_to_wire(VARIANTS["unhealthy"])["Health"] == {
        "Status": "unhealthy",
        "FailingStreak": 2,
        "Log": [
            {
                "Start": "2023-11-14T22:13:20Z",
                "End": "2023-11-14T22:13:20.5Z",
                "ExitCode": -1,
                "Output": "late",
            }
        ],
    }
    for variant in ("created-with-check", "running"):
        assert "Health" not in state_to_wire(VARIANTS[variant])
    for variant, health in (
        ("healthy", {"Status": "healthy", "FailingStreak": 2}),
        ("created-with-check", {"Status": "none", "FailingStreak": 0}),
    ):
        wire = summary_to_wire(VARIANTS[variant], status="", image="")
        assert wire["Health"] == health


def test_times_of_what_never_happened() -> None:
    """Go's zero time."""
    wire = state_to_wire(container())
    assert wire["StartedAt"] == wire["FinishedAt"] == "0001-01-01T00:00:00Z"


def test_an_inspection_tells_addresses_of_the_present_run_only() -> None:
    """While it runs the endpoint's, else what was asked for."""
    wire = inspect_to_wire(VARIANTS["running"], places=PLACES, execs=[])
    asked = inspect_to_wire(VARIANTS["exited"], places=PLACES, execs=[])
    of_run, of_exited = (
        encoded(one)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for one in (wire, asked)
    )
    assert (of_run, of_exited) == ("172.17.0.2", "")


def test_scripts_find_the_address_in_older_versions() -> None:
    """Below 1.52 the default bridge's endpoint stands beside the networks, too."""
    for version, address in ((ApiVersion(1, 51), "172.17.0.2"), (ApiVersion(1, 52), None)):
        wire = inspect_to_wire(VARIANTS["running"], places=PLACES, execs=[], version=version)
        assert wire["NetworkSettings"].get("IPAddress") == address


def test_a_summary_names_the_container_with_a_slash() -> None:
    """Clients cut the first character off."""
    wire = summary_to_wire(container(name="web"), status="", image="busybox")
    assert wire["Names"] == ["/web"]
    assert wire["Command"] == "sh -c true"


def test_a_mount() -> None:
    """As the Engine API spells it; a name and a driver only where there is one."""
    wire = encoded(summary_to_wire(container(mounts=[BIND]), status="", image=""))
    assert wire["Mounts"] == [
        {
            "Type": "bind",
            "Source": "/srv",
            "Destination": "/data",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        }
    ]
    volume = replace_mount(BIND, type="volume", name="v", driver="local")
    wire = encoded(summary_to_wire(container(mounts=[volume]), status="", image=""))
    assert (wire["Mounts"][0]["Name"], wire["Mounts"][0]["Driver"]) == ("v", "local")


def replace_mount(mount: MountPoint, **changes: Any) -> MountPoint:
    """Whatever kind of value a mount is."""
    if isinstance(mount, msgspec.Struct):
        return msgspec.structs.replace(mount, **changes)
    return replace(mount, **changes)


@pytest.mark.parametrize(
    ("options", "privileged", "has_apparmor", "created", "started"),
    [
        (None, False, True, "", "docker-default"),
        (None, False, False, "", ""),
        (None, True, True, "", "unconfined"),
        (["apparmor=mine"], False, True, "mine", "mine"),
        (["apparmor=mine"], False, False, "mine", ""),
        (["apparmor=unconfined"], False, True, "unconfined", "unconfined"),
    ],
)
def test_the_apparmor_profile_is_what_a_start_made_of_it(
    options: list[str] | None, privileged: bool, has_apparmor: bool, created: str, started: str
) -> None:
    """Before the first start it is what was asked for; a kernel without AppArmor has none."""
    host = filled(HostConfig(security_opt=options, privileged=privileged))
    for status, expected in ((Status(), created), (running(), started), (exited(), started)):
        wire = inspect_to_wire(
            container(host_config=host, status=status),
            places=PLACES,
            execs=[],
            has_apparmor=has_apparmor,
        )
        assert wire["AppArmorProfile"] == expected
