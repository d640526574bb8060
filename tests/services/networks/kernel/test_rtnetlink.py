"""Our messages as another library reads them: what kernels here cannot be asked is at least said.

pyroute2's decoder is independent of ours; the numbers that it does not know are compared as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from services.networks.kernel.rtnetlink import (
    CREATE_EXCL,
    REQUEST_ACK,
    RTM_NEWLINK,
    Batch,
    NetlinkError,
)
from services.networks.planning.ipvlan_options import FLAGS, MODES
from services.networks.planning.macvlan_options import MODES as MACVLAN_MODES

EEXIST = 17


class FakeKernel:
    """Keeps what it is sent, and answers as it is told: 0 is an acknowledgement."""

    def __init__(self, errno: int = 0) -> None:
        self.sent = b""
        self.errno = errno

    def send(self, data: bytes) -> None:
        self.sent += data

    def recv(self, _limit: int) -> bytes:
        return struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -self.errno)


def decoded(build: Callable[[Batch], None]) -> Any:
    """The one link message that `build` adds, by pyroute2."""
    batch, kernel = Batch(), FakeKernel()
    build(batch)
    batch.send(kernel)  # type: ignore[arg-type]
    message = ifinfmsg(kernel.sent)
    message.decode()
    head = message["header"]
    assert (head["type"], head["flags"]) == (RTM_NEWLINK, REQUEST_ACK | CREATE_EXCL)
    assert head["length"] == len(kernel.sent)
    return message


def kind_and_data(message: Any) -> tuple[str, Any]:
    info = message.get_attr("IFLA_LINKINFO")
    return info.get_attr("IFLA_INFO_KIND"), info.get_attr("IFLA_INFO_DATA")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", FLAGS)
def test_an_ipvlan_link(mode: str, flag: str) -> None:
    """On its parent, in the other namespace, with no hardware address of its own."""
    message = decoded(
        lambda batch: batch.add_ipvlan(
            "eth0", index=10, parent=3, mode=MODES[mode], flag=FLAGS[flag], netns=7
        )
    )
    assert (message["index"], message["state"]) == (10, "down")
    names = {name: message.get_attr(name) for name in ("IFLA_IFNAME", "IFLA_LINK")}
    assert names == {"IFLA_IFNAME": "eth0", "IFLA_LINK": 3}
    assert message.get_attr("IFLA_NET_NS_FD") == 7
    assert message.get_attr("IFLA_ADDRESS") is None
    kind, data = kind_and_data(message)
    assert (kind, data.get_attr("IFLA_IPVLAN_MODE")) == ("ipvlan", MODES[mode])
    # IFLA_IPVLAN_FLAGS is 2 and 16 bits wide (linux/if_link.h); the library does not know it.
    assert struct.pack("=HHHH", 6, 2, FLAGS[flag], 0) == bytes(message.data[-8:])


@pytest.mark.parametrize("mode", MACVLAN_MODES)
def test_a_macvlan_link(mode: str) -> None:
    """With its own address, unless there is none to be had."""
    message = decoded(
        lambda batch: batch.add_macvlan(
            "eth1",
            index=0,
            mac=b"\x02\x42\x0a\x00\x00\x01",
            parent=3,
            mode=MACVLAN_MODES[mode],
            mtu=1400,
            netns=7,
        )
    )
    found = [message.get_attr(f"IFLA_{name}") for name in ("IFNAME", "LINK", "NET_NS_FD", "MTU")]
    assert found == ["eth1", 3, 7, 1400]
    assert message.get_attr("IFLA_ADDRESS") == "02:42:0a:00:00:01"
    kind, data = kind_and_data(message)
    assert (kind, data.get_attr("IFLA_MACVLAN_MODE")) == ("macvlan", mode)
    bare = decoded(
        lambda batch: batch.add_macvlan("e", index=0, mac=b"", parent=3, mode=8, mtu=0, netns=7)
    )
    assert [bare.get_attr(name) for name in ("IFLA_ADDRESS", "IFLA_MTU")] == [None, None]


@pytest.mark.parametrize("tag", [1, 10, 4094])
def test_a_vlan_of_a_link(tag: int) -> None:
    """Up, on its parent, in the same namespace."""
    message = decoded(lambda batch: batch.add_vlan(f"eth0.{tag}", parent=3, tag=tag))
    assert (message.get_attr("IFLA_IFNAME"), message.get_attr("IFLA_LINK")) == (f"eth0.{tag}", 3)
    assert (message["state"], message.get_attr("IFLA_NET_NS_FD")) == ("up", None)
    kind, data = kind_and_data(message)
    assert (kind, data.get_attr("IFLA_VLAN_ID")) == ("vlan", tag)


def test_a_dummy() -> None:
    """Leads nowhere, and gets no address from the kernel."""
    message = decoded(lambda batch: batch.add_dummy("di-0123456789ab"))
    assert message.get_attr("IFLA_IFNAME") == "di-0123456789ab"
    assert kind_and_data(message)[0] == "dummy"


def test_a_refusal_says_what_was_tried() -> None:
    """With the kernel's number."""
    batch = Batch()
    batch.add_vlan("eth0.7", parent=3, tag=7)
    with pytest.raises(NetlinkError, match=r"make vlan eth0\.7: File exists") as refused:
        batch.send(FakeKernel(EEXIST))  # type: ignore[arg-type]
    assert refused.value.errno == EEXIST
