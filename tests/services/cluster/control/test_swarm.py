"""The cluster's settings, tokens and unlock key."""

from __future__ import annotations

import pytest

from services.cluster.control.swarm import Swarm
from services.cluster.model.swarm_spec import (
    CaConfig,
    DispatcherConfig,
    EncryptionConfig,
    Orchestration,
    Raft,
    SwarmSpec,
)
from services.cluster.requests import (
    InitRequest,
    JoinRequest,
    Rotations,
    checked_init,
    checked_join,
)
from services.cluster.store.contract import OutOfSequence
from services.errors import InvalidParameter, NotSupported
from tests.services.cluster.objects import store_of

NOTHING = Rotations()
LOCKED = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))


async def test_settings_change_at_the_version_that_was_seen() -> None:
    """What is zero means the default, as in swarmkit."""
    swarm = Swarm(store_of())
    spec = SwarmSpec(
        name="",
        orchestration=Orchestration(task_history_retention_limit=0),
        raft=Raft(snapshot_interval=0, election_tick=0, heartbeat_tick=0),
        dispatcher=DispatcherConfig(heartbeat_period=0),
    )
    version = swarm.get().version
    await swarm.update(version, spec, NOTHING)
    now = swarm.get().spec
    assert now.orchestration.task_history_retention_limit == 0
    assert (now.name, now.raft, now.dispatcher) == ("default", Raft(), DispatcherConfig())
    with pytest.raises(OutOfSequence):
        await swarm.update(version, spec, NOTHING)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SwarmSpec(name="other"), '^swarm spec must be named "default"$'),
        (SwarmSpec(ca_config=CaConfig(node_cert_expiry=1)), "minimum certificate expiry time is"),
        (SwarmSpec(dispatcher=DispatcherConfig(heartbeat_period=-1)), "cannot be a negative"),
    ],
)
async def test_settings_that_cannot_be_meant(spec: SwarmSpec, text: str) -> None:
    """Nothing is changed by them."""
    swarm = Swarm(store_of())
    with pytest.raises(InvalidParameter, match=text):
        await swarm.update(swarm.get().version, spec, NOTHING)


async def test_authorities_elsewhere_are_refused() -> None:
    """Rather than kept and never asked."""
    swarm = Swarm(store_of())
    spec = SwarmSpec(ca_config=CaConfig(external_cas=[{"Protocol": "cfssl", "URL": "https://x"}]))
    with pytest.raises(NotSupported):
        await swarm.update(swarm.get().version, spec, NOTHING)


async def test_tokens_are_drawn_anew_one_by_one() -> None:
    """The other role's goes on."""
    swarm = Swarm(store_of())
    before = swarm.join_tokens()
    await swarm.update(swarm.get().version, SwarmSpec(), Rotations(worker_token=True))
    after = swarm.join_tokens()
    assert after.worker != before.worker
    assert after.manager == before.manager
    assert after.worker.startswith("SWMTKN-1-")


async def test_the_unlock_key_comes_and_goes_with_the_lock() -> None:
    """It changes only when that is asked for."""
    swarm = Swarm(store_of())
    assert swarm.unlock_key() == ""
    await swarm.update(swarm.get().version, LOCKED, NOTHING)
    first = swarm.unlock_key()
    assert first.startswith("SWMKEY-1-")
    await swarm.update(swarm.get().version, LOCKED, NOTHING)
    assert swarm.unlock_key() == first
    await swarm.update(swarm.get().version, LOCKED, Rotations(unlock_key=True))
    assert swarm.unlock_key() not in ("", first)
    await swarm.update(swarm.get().version, SwarmSpec(), NOTHING)
    assert swarm.unlock_key() == ""


async def test_another_root_is_begun_once_for_each_wish() -> None:
    """And the settings never hold a signing key."""
    swarm = Swarm(store_of())
    forced = SwarmSpec(ca_config=CaConfig(force_rotate=1))
    await swarm.update(swarm.get().version, forced, NOTHING)
    begun = swarm.get().root_ca
    assert begun.next_certificate
    await swarm.update(swarm.get().version, forced, NOTHING)
    assert swarm.get().root_ca == begun
    assert swarm.get().spec.ca_config.signing_ca_key == ""


def test_a_join_needs_an_address() -> None:
    """Ports that are left out are swarm's."""
    with pytest.raises(InvalidParameter, match=r"^at least 1 RemoteAddr is required to join$"):
        checked_join(JoinRequest(listen_addr="0.0.0.0:2377"))
    checked = checked_join(
        JoinRequest(listen_addr="eth0", remote_addrs=["10.0.0.1", "[fd00::1]:9", "fd00::2"])
    )
    assert checked.listen_addr == "eth0:2377"
    assert checked.remote_addrs == ["10.0.0.1:2377", "[fd00::1]:9", "[fd00::2]:2377"]
    assert checked.availability == "active"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (InitRequest(), '^invalid ListenAddr "": invalid empty address$'),
        (InitRequest(listen_addr=":99999"), "Invalid bind address format"),
        (InitRequest(listen_addr="a", data_path_port=80), r"invalid dataport number \(80\)"),
        (InitRequest(listen_addr="a", subnet_size=30), "subnet size is out of range: 30"),
        (InitRequest(listen_addr="a", default_addr_pool=["x"]), "invalid base pool x"),
        (
            InitRequest(listen_addr="a", default_addr_pool=["10.0.0.0/25"]),
            "Subnet size is too small for pool: 24",
        ),
        (
            InitRequest(listen_addr="a", default_addr_pool=["10.0.0.0/8", "10.1.0.0/16"]),
            "overlaps with 10.0.0.0/8",
        ),
        (InitRequest(listen_addr="a", availability="busy"), 'invalid Availability: "busy"'),
    ],
)
def test_an_init_that_cannot_be_meant(request_: InitRequest, text: str) -> None:
    """Found before anything is begun."""
    with pytest.raises(InvalidParameter, match=text):
        checked_init(request_)


def test_an_init_is_filled_in() -> None:
    """The lock stands in the spec."""
    checked = checked_init(InitRequest(listen_addr="0.0.0.0", auto_lock_managers=True))
    assert checked.listen_addr == "0.0.0.0:2377"
    assert (checked.data_path_port, checked.subnet_size) == (4789, 24)
    assert checked.spec.encryption_config.auto_lock_managers
