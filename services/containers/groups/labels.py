"""The labels by which a container is a member of a group.

    io.wharfinger.group             web           the group's name
    io.wharfinger.group.strategy    one_for_one   or one_for_all, rest_for_one: what a member's
                                                  failure means for the others
    io.wharfinger.group.order       0             members start in rising order, stop in falling
    io.wharfinger.group.intensity   5/60s         more failures in that time end the whole group

What a failure means is said by the labels of the member that fails; usually all have the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.errors import InvalidParameter
from supervisor.otp import Intensity, Strategy

GROUP: Final = "io.wharfinger.group"
STRATEGY: Final = "io.wharfinger.group.strategy"
ORDER: Final = "io.wharfinger.group.order"
INTENSITY: Final = "io.wharfinger.group.intensity"
GROUP_LABELS: Final = frozenset({GROUP, STRATEGY, ORDER, INTENSITY})

DEFAULT_INTENSITY: Final = Intensity(max_restarts=5, window_s=60.0)
MAX_WINDOW_S: Final = 24 * 3600.0
MAX_ORDER: Final = 10**6
_STRATEGIES: Final = (Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\Z")
_ORDER: Final = re.compile(r"-?[0-9]{1,7}\Z")
_INTENSITY: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h)\Z")
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One container's place in a group."""

    group: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    order: int = 0
    intensity: Intensity = DEFAULT_INTENSITY


def membership_of(labels: Mapping[str, str]) -> Membership | None:
    """What the labels say; None: it is in no group.

    Raises:
        InvalidParameter: a value that there is not, or labels of a group without its name.
    """
    group = labels.get(GROUP)
    if group is None:
        for name in GROUP_LABELS & labels.keys():
            raise InvalidParameter(f"invalid label {name}: there is no label {GROUP}")
        return None
    if not _NAME.match(group):
        raise InvalidParameter(f'invalid label {GROUP}: "{group}" is not a name')
    return Membership(
        group=group,
        strategy=_strategy(labels.get(STRATEGY, Strategy.ONE_FOR_ONE.value)),
        order=_order(labels.get(ORDER, "0")),
        intensity=_intensity(labels.get(INTENSITY)),
    )


def _strategy(text: str) -> Strategy:
    for strategy in _STRATEGIES:
        if text == strategy.value:
            return strategy
    known = ", ".join(strategy.value for strategy in _STRATEGIES)
    raise InvalidParameter(f'invalid label {STRATEGY}: "{text}" is none of {known}')


def _order(text: str) -> int:
    if not _ORDER.match(text) or abs(int(text)) > MAX_ORDER:
        raise InvalidParameter(
            f'invalid label {ORDER}: "{text}" is not a number from -{MAX_ORDER} to {MAX_ORDER}'
        )
    return int(text)


def _intensity(text: str | None) -> Intensity:
    if text is None:
        return DEFAULT_INTENSITY
    match = _INTENSITY.match(text)
    window_s = float(match[2]) * _UNIT_S[match[3]] if match else 0.0
    if match is None or not 0 < window_s <= MAX_WINDOW_S:
        raise InvalidParameter(
            f'invalid label {INTENSITY}: "{text}" is not a number of failures in a time, like 5/60s'
        )
    return Intensity(max_restarts=int(match[1]), window_s=window_s)
