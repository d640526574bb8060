"""Plugins are asked in order; one that says no, is away or answers nonsense, refuses.

Texts are dockerd 20.10's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.errors import EngineError, Forbidden
from services.plugins import Authorizer, AuthRequest, PluginDirectories, client
from services.plugins.discovery import check_plugins
from tests.support.authz import Plugin, plugin_at

ASKED = AuthRequest(method="GET", uri="/v1.44/info", headers={"A": "b"}, body=b"{}", user="ann")


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    """A plugin called p."""
    with plugin_at(tmp_path / "p.sock") as one:
        yield one


def authorizer(tmp_path: Path, *names: str) -> Authorizer:
    """With plugins in a folder of the test's own."""
    return Authorizer(lambda: names, PluginDirectories(tmp_path, ()))


async def test_what_a_plugin_is_told(plugin: Plugin, tmp_path: Path) -> None:
    """The protocol's names, what is empty left out; one handshake for all questions."""
    made = authorizer(tmp_path, "p", "p")
    assert made.names == ("p",)
    await made.judge_request(made.names, ASKED)
    await made.judge_response(made.names, ASKED)
    told = {
        "User": "ann",
        "RequestMethod": "GET",
        "RequestUri": "/v1.44/info",
        "RequestBody": b"{}",
        "RequestHeaders": {"A": "b"},
    }
    assert plugin.asked == [("AuthZReq", told), ("AuthZRes", told)]
    assert plugin.activations == 1


async def test_the_first_no_counts(plugin: Plugin, tmp_path: Path) -> None:
    """Those behind it are not asked."""
    with plugin_at(tmp_path / "q.sock") as other:
        made = authorizer(tmp_path, "q", "p")
        other.verdict = lambda *_: {"Allow": False, "Msg": "no way"}
        with pytest.raises(Forbidden, match=r"^authorization denied by plugin q: no way$"):
            await made.judge_request(made.names, ASKED)
        assert plugin.asked == []
        other.verdict = lambda *_: {"Allow": True}
        plugin.verdict = lambda *_: {}
        with pytest.raises(Forbidden, match=r"^authorization denied by plugin p: $"):
            await made.judge_request(made.names, ASKED)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"", "EOF"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"Allow": "yes"}', "Expected `bool`, got `str`"),
        ((500, b'{"Err":"broken"}'), "AuthZPlugin.AuthZReq: broken"),
        ((404, b"no\n"), "AuthZPlugin.AuthZReq: no"),
        ({"Allow": True, "Err": "bad thing"}, "bad thing"),
        (b'{"Msg":"' + b"x" * client.ANSWER_LIMIT_BYTES + b'"}', "its answer is larger than"),
    ],
)
async def test_nonsense_refuses(
    plugin: Plugin, tmp_path: Path, answer: object, message: str
) -> None:
    """Whatever cannot be understood is no consent."""
    plugin.verdict = lambda *_: answer
    made = authorizer(tmp_path, "p")
    with pytest.raises(EngineError) as caught:
        await made.judge_request(made.names, ASKED)
    assert str(caught.value).startswith(f"plugin p failed with error: {message}")
    assert not isinstance(caught.value, Forbidden)


async def test_one_that_is_away_refuses_until_it_is_back(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dockerd's text, with what the system says."""
    monkeypatch.setattr(client, "CONNECT_BUDGET_S", 0.1)
    made = authorizer(tmp_path, "p")
    await made.judge_request(made.names, ASKED)
    plugin.stop()
    with pytest.raises(EngineError, match=r'^plugin p failed with error: plugin "p" not found$'):
        await made.judge_request(made.names, ASKED)
    plugin.start()
    await made.judge_request(made.names, ASKED)
    assert plugin.phases() == ["AuthZReq", "AuthZReq"]
    plugin.stop()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(plugin.path))
    quoted = str(plugin.path).replace("/", "%2F")
    text = (
        f'plugin p failed with error: Post "http://{quoted}/Plugin.Activate": '
        f"dial unix {plugin.path}: connect: connection refused"
    )
    made = authorizer(tmp_path, "p")
    with pytest.raises(EngineError, match=f"^{re.escape(text)}$"):
        await made.judge_request(made.names, ASKED)


async def test_another_kind_of_plugin_refuses(plugin: Plugin, tmp_path: Path) -> None:
    """A volume driver cannot consent."""
    plugin.implements = ["VolumeDriver"]
    made = authorizer(tmp_path, "p")
    with pytest.raises(EngineError, match="Plugin does not implement the requested driver"):
        await made.judge_request(made.names, ASKED)
    assert plugin.asked == []


def test_the_daemon_does_not_start_without_them(plugin: Plugin, tmp_path: Path) -> None:
    """dockerd's sentence for one that is not there."""
    directories = PluginDirectories(tmp_path, ())
    check_plugins(["p"], directories)
    with pytest.raises(
        ValueError, match=r'^failed to validate authorization plugin: plugin "q" no'
    ):
        check_plugins(["p", "q"], directories)
