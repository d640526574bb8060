"""Where a run stands in its networks, as labels of containerd's container.

Known again should the daemon be killed after the task was started and before that was recorded. A
label is short, so each endpoint has one of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.containers.config import EndpointSettings
from services.containers.model import Place
from services.containers.networking.settings import place_of, settings_of
from services.networks import Endpoint

PREFIX: Final = "io.wharfinger.endpoint."


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, without what its definition says."""

    network: str
    settings: EndpointSettings
    place: Place


def labels_of(endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """The labels that tell of these endpoints."""
    return {f"{PREFIX}{number}": _text_of(one) for number, one in enumerate(endpoints)}


def recorded_endpoints(
    labels: Mapping[str, str], asked: Mapping[str, EndpointSettings]
) -> tuple[dict[str, EndpointSettings], dict[str, Place]]:
    """Settings and places by network, as a launch wrote them; none if it did not."""
    found = [
        msgspec.json.decode(text, type=_Recorded)
        for label, text in sorted(labels.items())
        if label.startswith(PREFIX)
    ]
    settings = {one.network: _with_asked(one, asked) for one in found}
    return settings, {one.network: one.place for one in found}


def _text_of(endpoint: Endpoint) -> str:
    recorded = _Recorded(
        network=endpoint.network,
        settings=settings_of(EndpointSettings(), endpoint),
        place=place_of(endpoint),
    )
    return msgspec.json.encode(recorded).decode()


def _with_asked(one: _Recorded, asked: Mapping[str, EndpointSettings]) -> EndpointSettings:
    wanted = asked.get(one.network)
    if wanted is None:
        return one.settings
    return msgspec.structs.replace(
        one.settings,
        ipam_config=wanted.ipam_config,
        links=wanted.links,
        aliases=wanted.aliases,
        driver_opts=wanted.driver_opts,
        gw_priority=wanted.gw_priority,
    )
