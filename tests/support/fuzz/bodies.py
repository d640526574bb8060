"""Bodies made from a schema: mostly good ones, and ones with something odd in one place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.support.fuzz.members import COMMAND, MEMBERS
from tests.support.fuzz.values import ODD

DEEPEST: Final = 7
_SERVICE: Final[Mapping[str, Any]] = {
    "Name": "s1",
    "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Command": COMMAND}},
    "Mode": {"Replicated": {"Replicas": 1}},
}
BASES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ContainerCreate": {"Image": "busybox", "Cmd": COMMAND, "HostConfig": {"NetworkMode": "none"}},
    "ContainerExec": {"Cmd": ["echo", "x"], "AttachStdout": True},
    "NetworkConnect": {"Container": "c0"},
    "NetworkDisconnect": {"Container": "c0"},
    "NetworkCreate": {"Name": "n1"},
    "ServiceCreate": _SERVICE,
    "ServiceUpdate": {**_SERVICE, "Name": "s0"},
    "SecretCreate": {"Name": "s1", "Data": "dGV4dA=="},
    "ConfigCreate": {"Name": "s1", "Data": "dGV4dA=="},
    "SecretUpdate": {"Name": "s0"},
    "ConfigUpdate": {"Name": "s0"},
    "NodeUpdate": {"Role": "manager", "Availability": "active"},
    "SwarmUpdate": {"Name": "default"},
}
"""What an operation's body has anyway, or next to none would be taken."""


class BodyMaker:
    """Makes bodies; `good` is how many of a hundredth of all choices are to be good ones."""

    def __init__(self, schemas: Mapping[str, Any], *, good: float) -> None:
        self._schemas, self._good = schemas, good

    def make(self, operation: str, schema: Mapping[str, Any], random: Random) -> bytes:
        """The JSON for an operation's body."""
        value = self._value(schema, random, depth=0)
        if isinstance(value, dict) and operation in BASES and random.random() < 0.95:
            value = _merged(BASES[operation], value)
        if random.random() > self._good:
            for _ in range(random.choice((1, 1, 2))):
                value = _mutated(value, random)
        return _encoded(value, random)

    def _value(
        self, schema: Mapping[str, Any], random: Random, *, depth: int, name: str = ""
    ) -> Any:
        """A value that fits the schema, more or less."""
        if name in MEMBERS and random.random() < 0.8:
            known = MEMBERS[name]
            return _plain(known[0] if random.random() < self._good else random.choice(known))
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
            return self._value(schema, random, depth=depth)
        if "allOf" in schema:
            parts = [self._value(part, random, depth=depth) for part in schema["allOf"]]
            return {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}
        if schema.get("enum") and random.random() < 0.9:
            return random.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self._object(schema, random, depth=depth)
        if kind == "array":
            items = range(random.choice((0, 1, 1, 2)) if depth < DEEPEST else 0)
            inner = schema.get("items", {})
            return [self._value(inner, random, depth=depth + 1) for _ in items]
        if kind in ("integer", "number"):
            return random.choice((0, 1, 2, 10, 100, 1000, 65536, 2**20, 2**26, 10**9, -1))
        if kind == "boolean":
            return random.random() < 0.5
        return random.choice(("x", "a", "busybox", "c0", "1", "/t", ""))

    def _object(self, schema: Mapping[str, Any], random: Random, *, depth: int) -> dict[str, Any]:
        """A few of its members: with all of them, hardly any would be taken."""
        made: dict[str, Any] = {}
        if depth >= DEEPEST:
            return made
        properties = schema.get("properties", {})
        wanted = min(len(properties), random.choice((0, 1, 1, 2, 2, 3, 4)))
        for name in random.sample(sorted(properties), wanted):
            made[name] = self._value(properties[name], random, depth=depth + 1, name=name)
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            for _ in range(random.choice((0, 1, 2))):
                key = random.choice(("a", "b", "80/tcp", "n0", "", "x.y"))
                made[key] = self._value(more, random, depth=depth + 1)
        return made


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, inner in more.items():
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(inner, Mapping):
            merged[key] = _merged(known, inner)
        else:
            merged[key] = inner
    return merged


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container within `value`, with each key or index of it."""
    inner: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for key, child in inner:
        yield value, key
        yield from _places(child)


def _mutated(value: Any, random: Random) -> Any:
    """A copy with something odd in one place, or something more."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return random.choice(ODD)
    where, key = random.choice(places)
    kind = random.random()
    if kind < 0.75:
        where[key] = random.choice(ODD)
    elif kind < 0.85:
        where[key] = [where[key]]
    elif isinstance(where, dict):
        where[random.choice(("Nosuch", "", key.swapcase(), "\x00"))] = random.choice(ODD)
    else:
        where.append(random.choice(ODD))
    return value


def _encoded(value: Any, random: Random) -> bytes:
    """JSON, now and then with something that no encoder writes."""
    data = json.dumps(value).encode()
    chance = random.random()
    if chance > 0.05:
        return data
    if chance < 0.02 and isinstance(value, dict) and value:
        key = json.dumps(next(iter(value))).encode()
        again = b'{"a":' * 300 + b"1" + b"}" * 300 if chance < 0.01 else b"null"
        return data[:-1] + b"," + key + b":" + again + b"}"  # a member twice
    if chance < 0.03:
        return data.replace(b"a", b"\xff")
    if chance < 0.04:
        return data[: len(data) // 2]
    number = random.choice((b"1e999", b"9" * 5000))
    return data.replace(b'"x"', b"NaN").replace(b"1", number)
