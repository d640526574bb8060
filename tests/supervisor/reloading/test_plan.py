"""supervisor.reloading.plan: what a change takes, decided without doing anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.api.listening.hosts import Host, parse_host
from supervisor.configuration.loading import load
from supervisor.configuration.settings import Settings
from supervisor.reloading.plan import (
    PartChange,
    changed_fields,
    host_changes,
    make_plan,
    scope_changes,
)


class Config:
    """A configuration file of the test's own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, **settings: Any) -> Settings:
        """What a daemon has whose file says this."""
        self._path.write_text(
            json.dumps({name.replace("_", "-"): value for name, value in settings.items()})
        )
        return load({"config-file": str(self._path)}, {"HOME": "/root"})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "daemon.json")


def test_each_setting_goes_its_way(config: Config) -> None:
    """Live, by a part's new beginning, or not before the daemon's; in the names of the file."""
    old = config.load(labels=["a=b"])
    new = config.load(
        debug=True, dns=["1.1.1.1"], metrics_addr="127.0.0.1:1", data_root="/new", mtu=1400
    )
    plan = make_plan(old, new)
    assert plan.live == ("debug", "dns", "labels")
    assert plan.parts == (PartChange(path="root/faces/metrics", settings=("metrics-addr",)),)
    assert plan.waiting == ("data-root", "mtu")


def test_scoped_sockets_are_known_by_their_paths(config: Config) -> None:
    """What is the same in both is not touched."""

    def sockets(**policies: str) -> Any:
        given = [
            {"path": f"/{name}", "policy": {"operations": [operation]}}
            for name, operation in policies.items()
        ]
        return config.load(scoped_sockets=given).access.scoped_sockets

    old = sockets(same="SystemInfo", other="SystemInfo", gone="SystemInfo")
    new = sockets(added="SystemInfo", other="ContainerList", same="SystemInfo")
    changes = scope_changes(old, new)
    assert changes.added == (new[0],)
    assert changes.changed == ((old[1], new[1]),)
    assert changes.leaving == (old[2],)


def test_the_target_is_the_new_without_what_waits(config: Config) -> None:
    """So that what is in force is never a mixture that nobody asked for, but for those."""
    old = config.load()
    new = config.load(debug=True, data_root="/new", mtu=1400, host_gateway_ips=["10.9.9.9"])
    target = make_plan(old, new).target
    assert (target.data_root, target.network.mtu) == (old.data_root, 1500)
    assert target.network.host_gateways == ("10.9.9.9",)
    assert changed_fields(target, new) == ["data_root", "network.mtu"]
    assert make_plan(old, target).waiting == ()


def test_a_key_that_was_taken_out_goes_back_to_its_default(config: Config) -> None:
    """A reload ends where a start with the same file would."""
    old = config.load(debug=True, labels=["a=b"], log_opts={"max-size": "1m"})
    assert make_plan(old, config.load()).target == config.load()


def test_nothing_changed_is_nothing_to_do(config: Config) -> None:
    """But for files that may have changed in their places."""
    settings = config.load()
    plan = make_plan(settings, config.load())
    assert (plan.live, plan.parts, plan.waiting, plan.reread) == ((), (), (), ())
    assert plan.target == settings


def test_files_that_settings_name_are_read_again(config: Config) -> None:
    """Certificates that were renewed, a seccomp profile that was edited."""
    given: dict[str, Any] = {
        "hosts": ["tcp://127.0.0.1:1"],
        "tls": True,
        "tlsverify": False,
        "tlscert": "/c",
        "tlskey": "/k",
        "tlscacert": "/a",
        "seccomp-profile": "/s",
    }
    settings = config.load(**given)
    assert make_plan(settings, settings).reread == (Path("/c"), Path("/k"), Path("/s"))
    verifying = config.load(**{**given, "tlsverify": True})
    plan = make_plan(settings, verifying)
    assert plan.reread == (Path("/c"), Path("/k"), Path("/a"), Path("/s"))
    assert plan.live == ("tlsverify",)


def test_tls_switched_on_as_a_whole_is_one_setting(config: Config) -> None:
    """And no list of all that it brings."""
    old = config.load(hosts=["tcp://127.0.0.1:1"])
    new = config.load(hosts=["tcp://127.0.0.1:1"], tls=True, tlsverify=False)
    assert make_plan(old, new).live == ("tls",)


def hosts(*texts: str) -> list[Host]:
    return [parse_host(text) for text in texts]


@pytest.mark.parametrize(
    ("old", "new", "added", "yielding", "leaving"),
    [
        (["unix:///a"], ["unix:///a"], [], [], []),
        (["unix:///a"], ["unix:///a", "tcp://x:1"], ["tcp://x:1"], [], []),
        (["unix:///a", "tcp://x:1"], ["unix:///a"], [], [], ["tcp://x:1"]),
        (["unix:///a"], ["unix:///b"], ["unix:///b"], [], ["unix:///a"]),
        (["tcp://x:1"], ["tcp://0.0.0.0:1"], ["tcp://0.0.0.0:1"], ["tcp://x:1"], []),
        (["tcp://x:0"], ["tcp://y:0"], ["tcp://y:0"], [], ["tcp://x:0"]),
        (["fd://"], ["fd://a"], ["fd://a"], [], ["fd://"]),
    ],
)
def test_an_address_that_is_in_the_way_goes_first(
    old: list[str], new: list[str], added: list[str], yielding: list[str], leaving: list[str]
) -> None:
    """Two sockets cannot have one port; else the old one stays until the new one works."""
    changes = host_changes(hosts(*old), hosts(*new))
    assert list(changes.added) == hosts(*added)
    assert list(changes.yielding) == hosts(*yielding)
    assert list(changes.leaving) == hosts(*leaving)
