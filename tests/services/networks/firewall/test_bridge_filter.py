"""services.networks.firewall.bridge_filter: a kernel that can is made to keep ports apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import EngineError
from services.networks.firewall import bridge_filter
from services.networks.firewall.bridge_filter import require_bridge_filter


@pytest.fixture
def switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel shows its switches once the module is loaded."""
    folder = tmp_path / "bridge"
    monkeypatch.setattr(bridge_filter, "_SWITCHES", folder)
    return folder


def loader(monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    monkeypatch.setattr(bridge_filter, "_LOAD", command)


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_module_is_loaded_if_it_is_not(
    switches: Path, monkeypatch: pytest.MonkeyPatch, ipv6: bool
) -> None:
    """As after the boot of a system where nothing else asks for it; then it is switched on."""
    made = f"mkdir {switches} && cd {switches} && "
    made += "echo 0 >bridge-nf-call-iptables && echo 0 >bridge-nf-call-ip6tables"
    loader(monkeypatch, "sh", "-c", made)
    require_bridge_filter(ipv6=ipv6)
    assert (switches / "bridge-nf-call-iptables").read_text().strip() == "1"
    assert (switches / "bridge-nf-call-ip6tables").read_text().strip() == "01"[ipv6]


def test_one_that_is_loaded_is_not_loaded_again(
    switches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody has switched off is switched on."""
    switches.mkdir()
    switch = switches / "bridge-nf-call-iptables"
    switch.write_text("0\n")
    loader(monkeypatch, "touch", str(switches / "loaded"))
    require_bridge_filter(ipv6=False)
    assert switch.read_text() == "1"
    assert not (switches / "loaded").exists()


@pytest.mark.parametrize("command", [("false",), ("/no/such/program",), ("sleep", "60")])
def test_a_kernel_that_cannot_is_told_of(
    switches: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Instead of a network that is open: no module, no modprobe, one that does not end."""
    monkeypatch.setattr(bridge_filter, "_LOAD_LIMIT_S", 0.2)
    loader(monkeypatch, *command)
    with pytest.raises(EngineError, match="try modprobe br_netfilter"):
        require_bridge_filter(ipv6=False)
    assert not switches.exists()


def test_one_without_ipv6_is_told_of(switches: Path) -> None:
    """A switch that is not there keeps nobody apart."""
    switches.mkdir()
    (switches / "bridge-nf-call-iptables").write_text("1\n")
    with pytest.raises(EngineError, match="bridge-nf-call-ip6tables"):
        require_bridge_filter(ipv6=True)
