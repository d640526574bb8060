"""The instruction HEALTHCHECK: its flags and its command. Pure.

Source: moby, builder/dockerfile/instructions (parseHealthcheck); its refusals.
"""

from __future__ import annotations

import re
from typing import Final

from services.errors import InvalidParameter

from .instruction_words import json_words, require_words
from .oci import HealthcheckConfig

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_NS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_HEALTH_FLAGS: Final = {
    "interval": "interval_ns", "timeout": "timeout_ns", "start-period": "start_period_ns",
    "start-interval": "start_interval_ns", "retries": "retries",
}  # fmt: skip


def healthcheck_of(text: str) -> HealthcheckConfig:
    """What the arguments of a HEALTHCHECK say.

    Raises:
        InvalidParameter: they are malformed; dockerd's words.
    """
    require_words(text, "HEALTHCHECK")
    numbers: dict[str, int] = {}
    rest = text
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.strip()
        name, _, value = flag[2:].partition("=")
        field = _HEALTH_FLAGS.get(name)
        if field is None:
            raise InvalidParameter(f"unknown flag: {name}")
        numbers[field] = _retries(value) if name == "retries" else _duration_ns(name, value)
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        if command or numbers:
            raise InvalidParameter("HEALTHCHECK NONE takes no arguments")
        return HealthcheckConfig(test=["NONE"])
    if kind.upper() != "CMD":
        raise InvalidParameter(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    command = command.strip()
    if not command:
        raise InvalidParameter("Missing command after HEALTHCHECK CMD")
    words = json_words(command)
    test = ["CMD-SHELL", command] if words is None else ["CMD", *words]
    return HealthcheckConfig(test=test, **numbers)


def _retries(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidParameter(f"--retries must be at least 0 (not {text})")
    return int(text)


def _duration_ns(name: str, text: str) -> int:
    terms = _DURATION.findall(text)
    if not terms or "".join(number + unit for number, unit in terms) != text:
        raise InvalidParameter(f'time: invalid duration "{text}"')
    total = sum(int(float(number) * _UNIT_NS[unit]) for number, unit in terms)
    if 0 < total < 10**6:
        raise InvalidParameter(f'Interval "{name}" cannot be less than 1ms')
    return total
