"""Parents of macvlan and ipvlan networks that cannot be made."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from services.errors import EngineError
from services.networks.drivers.parent import make_parent
from services.networks.kernel.rtnetlink import Batch, NetlinkError
from services.networks.model import Network


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.EOPNOTSUPP, "this kernel has no VLAN links (is it built with CONFIG_VLAN_8021Q?)"),
        (errno.ENOBUFS, "make it: No buffer space available"),
    ],
)
def test_a_vlan_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    """Why stands in the text, and no number."""

    def refused(self: Batch, netlink: socket.socket) -> None:
        raise NetlinkError(code, f"make it: {os.strerror(code)}")

    monkeypatch.setattr(Batch, "send", refused)
    network = Network(id="i" * 64, name="n", driver="macvlan", link="lo.7")
    with pytest.raises(EngineError) as error:
        make_parent(network)
    assert str(error.value) == f"failed to create the lo.7 parent link: {text}"
