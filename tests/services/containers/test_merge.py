"""What a container takes from its image."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.containers.config import ContainerConfig, HealthConfig
from services.containers.merge import command_of, merge_image_config
from services.images import HealthcheckConfig, RunConfig

IMAGE = RunConfig(
    user="1:1", env=["PATH=/bin", "A=image"], entrypoint=["/init"], cmd=["serve"],
    labels={"a": "image", "b": "image"}, working_dir="/srv", stop_signal="SIGINT",
    exposed_ports={"80/tcp": None}, volumes={"/data": None}, shell=["/bin/ash"],
    healthcheck=HealthcheckConfig(test=["CMD", "true"], interval_ns=5, retries=2),
)  # fmt: skip


def merged(image: RunConfig | None = IMAGE, **own: Any) -> ContainerConfig:
    return merge_image_config(ContainerConfig(**own), image)


def test_what_the_client_leaves_out_is_the_images() -> None:
    """Every member."""
    config = merged()
    assert (config.user, config.working_dir, config.stop_signal) == ("1:1", "/srv", "SIGINT")
    assert (config.entrypoint, config.cmd) == (["/init"], ["serve"])
    assert (config.env, config.labels) == (["PATH=/bin", "A=image"], {"a": "image", "b": "image"})
    assert (config.exposed_ports, config.volumes) == ({"80/tcp": {}}, {"/data": {}})
    assert config.shell == ["/bin/ash"]
    assert config.healthcheck == HealthConfig(test=["CMD", "true"], interval=5, retries=2)


def test_what_the_client_says_wins() -> None:
    """Members are replaced, maps and the environment joined by name."""
    config = merged(
        user="0", working_dir="/", stop_signal="SIGTERM", env=["A=own", "B=own"],
        labels={"a": "own", "c": "own"}, exposed_ports={"81/udp": {}}, shell=["/bin/sh"],
    )  # fmt: skip
    assert (config.user, config.working_dir, config.stop_signal) == ("0", "/", "SIGTERM")
    assert sorted(config.env or ()) == ["A=own", "B=own", "PATH=/bin"]
    assert config.labels == {"a": "own", "b": "image", "c": "own"}
    assert config.exposed_ports == {"80/tcp": {}, "81/udp": {}}
    assert config.shell == ["/bin/sh"]


@pytest.mark.parametrize(
    ("own", "command"),
    [
        ({}, ["/init", "serve"]),
        ({"cmd": ["other"]}, ["/init", "other"]),
        ({"entrypoint": ["/own"]}, ["/own"]),
        ({"entrypoint": ["/own"], "cmd": ["x"]}, ["/own", "x"]),
        ({"entrypoint": [], "cmd": ["x"]}, ["x"]),
        ({"entrypoint": [""], "cmd": ["x"]}, ["x"]),
        ({"entrypoint": [""]}, []),
    ],
)
def test_the_command(own: dict[str, Any], command: list[str]) -> None:
    """A given entrypoint drops the image's command; an empty one is no entrypoint."""
    assert command_of(merged(**own)) == command


def test_a_health_check_is_joined_member_by_member() -> None:
    """What the client leaves at zero is the image's."""
    config = merged(healthcheck=HealthConfig(interval=9))
    assert config.healthcheck == HealthConfig(test=["CMD", "true"], interval=9, retries=2)


def test_an_image_that_says_nothing() -> None:
    """The client's word stands."""
    own = ContainerConfig(cmd=["sh"], env=["A=1"])
    assert merge_image_config(own, None) == own
    assert command_of(merge_image_config(own, RunConfig())) == ["sh"]
    assert merge_image_config(own, RunConfig()).healthcheck is msgspec.UNSET


@pytest.mark.parametrize(
    ("own", "of_image", "merged"),
    [("", "/a/../b/", "/b"), ("/x//y/", "/b", "/x/y"), ("x", "/b", "x"), ("", "", "")],
)
def test_a_working_directory_is_cleaned_whosever_it_is(
    own: str, of_image: str, merged: str
) -> None:
    """One that is no path is left for the check that refuses it."""
    image = RunConfig(working_dir=of_image)
    assert merge_image_config(ContainerConfig(working_dir=own), image).working_dir == merged


def test_no_volumes_of_ones_own_are_the_images() -> None:
    """An empty map says no more than none."""
    assert merge_image_config(ContainerConfig(volumes={}), RunConfig()).volumes is None
    image = RunConfig(volumes={"/v": None})
    assert merge_image_config(ContainerConfig(volumes={}), image).volumes == {"/v": {}}
