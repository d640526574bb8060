"""What mount(8) is given for a volume, and what is told of its refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import EngineError
from services.volumes.mounting import mount, resolved


@pytest.mark.parametrize(
    ("kind", "device", "words", "expected"),
    [
        ("nfs", ":/data", "addr=localhost,rw", (":/data", "addr=127.0.0.1,rw")),
        ("nfs", ":/data", "rw,addr=10.0.0.1", (":/data", "rw,addr=10.0.0.1")),
        ("nfs", ":/data", "addr=fd00::1", (":/data", "addr=fd00::1")),
        ("cifs", "//localhost/share/a", "username=x", ("//127.0.0.1/share/a", "username=x")),
        ("cifs", "//nobody.invalid/s", "addr=10.0.0.1", ("//nobody.invalid/s", "addr=10.0.0.1")),
        ("cifs", "//10.0.0.1/share", "", ("//10.0.0.1/share", "")),
        ("none", "/srv", "bind,addr=localhost", ("/srv", "bind,addr=localhost")),
    ],
)
async def test_names_of_servers_become_addresses(
    kind: str, device: str, words: str, expected: tuple[str, str]
) -> None:
    """The kernel knows no names; only network file systems have servers."""
    assert await resolved(kind, device, words) == expected


async def test_a_server_that_nobody_knows_is_an_error() -> None:
    """dockerd's words."""
    with pytest.raises(EngineError, match="error resolving passed in network volume address"):
        await resolved("nfs", ":/data", "addr=nobody.invalid")


async def test_a_password_is_not_told(tmp_path: Path) -> None:
    """Though mount(8) repeats what it was given."""
    options = {"type": "nosuch password=hush", "device": "x", "o": "password=hush"}
    with pytest.raises(EngineError) as refused:
        await mount(options, tmp_path)
    assert "hush" not in str(refused.value)
