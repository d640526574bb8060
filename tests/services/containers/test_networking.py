"""Which networks a create request asks for."""

from __future__ import annotations

import pytest

from services.containers.config import EndpointSettings, NetworkingConfig
from services.containers.networking import check_networking
from services.errors import InvalidParameter

OWN = EndpointSettings(mac_address="02:42:ac:11:00:09")


def test_nothing_asked_is_the_modes_network() -> None:
    """With settings of its own."""
    assert check_networking(NetworkingConfig(), "bridge") == {"bridge": EndpointSettings()}


def test_the_settings_of_a_network() -> None:
    """As given; null is nothing special."""
    asked = NetworkingConfig(endpoints_config={"bridge": OWN})
    assert check_networking(asked, "bridge") == {"bridge": OWN}
    empty = NetworkingConfig(endpoints_config={"bridge": None})
    assert check_networking(empty, "bridge") == {"bridge": EndpointSettings()}


def test_default_is_the_modes_network() -> None:
    """What clients call it."""
    asked = NetworkingConfig(endpoints_config={"default": OWN})
    assert check_networking(asked, "bridge") == {"bridge": OWN}


def test_several_networks_are_refused() -> None:
    """They are named."""
    asked = NetworkingConfig(endpoints_config={"b": OWN, "a": None})
    with pytest.raises(InvalidParameter, match="network endpoints: a, b"):
        check_networking(asked, "a")
