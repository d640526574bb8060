"""The firewall's place in the tree: a helper that is lost while networks start is started anew."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from ipaddress import IPv4Network

import pytest
import trio

from services.networks.firewall.firewall import Firewall
from services.networks.firewall.network_rules import FamilyRules, NetworkRules
from supervisor.otp import ChildSpec, ChildType, Supervisor
from supervisor.tree import firewall_tree
from tests.services.networks.firewall.test_firewall import helper_pids

pytestmark = pytest.mark.engine


async def test_a_helper_that_is_lost_while_networks_start_delays_them() -> None:
    """Their supervisor is busy starting them; another one starts the helper."""
    name = f"wt{secrets.token_hex(3)}"
    firewall = Firewall(table=f"wharfinger-{name}")
    network = NetworkRules(bridge=name, ipv4=FamilyRules(subnet=IPv4Network("10.99.0.0/24")))

    async def networks(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (pid,) = helper_pids()
        os.kill(pid, signal.SIGKILL)
        await firewall.set_network(network)
        task_status.started()
        await trio.sleep_forever()

    engine = Supervisor(
        [
            ChildSpec(id="firewall", start=firewall_tree(firewall).run, type=ChildType.SUPERVISOR),
            ChildSpec(id="networks", start=networks),
        ],
        name="engine",
    )
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                engine.stop()
    finally:
        command = ["nft", "delete", "table", "inet", firewall.table]
        subprocess.run(command, check=False, capture_output=True)
