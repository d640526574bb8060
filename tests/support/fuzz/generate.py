"""Requests made from the Engine API's definition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.support.fuzz.archives import make_archive
from tests.support.fuzz.bodies import BodyMaker
from tests.support.fuzz.members import MEMBERS
from tests.support.fuzz.values import (
    AUTH,
    BOOLEANS,
    NUMBERS,
    ODD_BODIES,
    ODD_QUERIES,
    ODD_TEXTS,
    ODD_TYPES,
    QUERY,
    odd_filters,
)
from tests.support.fuzz.wire import Sent

STREAMS: Final = frozenset(
    {
        *("ContainerLogs", "ContainerStats", "ContainerAttach", "ContainerAttachWebsocket"),
        *("ContainerWait", "SystemEvents", "ExecStart", "ServiceLogs", "TaskLogs", "Session"),
    }
)
"""Answers that may have no end."""
CUT_S: Final = 0.1
VERSIONS: Final = (
    *("", "/v1.24", "/v1.41", "/v1.44", "/v1.47", "/v1.52", "/v1.56"),
    *("/v1.23", "/v1.99", "/v1.x"),
)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An operation, as the definition has it."""

    method: str
    path: str
    parameters: Sequence[Mapping[str, Any]]


class Generator:
    """Makes requests. `names` is what there may be, by the first segment of a path."""

    def __init__(
        self, document: Mapping[str, Any], names: Mapping[str, Sequence[str]], *, good: float = 0.6
    ) -> None:
        """`good` of all choices are to be good ones."""
        self._names, self._good = names, good
        self._bodies = BodyMaker(document["definitions"], good=good)
        self.operations = {
            operation["operationId"]: Shape(
                method=method.upper(), path=path, parameters=operation.get("parameters", ())
            )
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }

    def request(self, operation: str, random: Random) -> Sent:
        """A request of this operation; the same for the same state of `random`."""
        shape = self.operations[operation]
        method, path = shape.method, shape.path
        query: list[str] = []
        headers: dict[str, str] = {}
        body: bytes | None = None
        for parameter in shape.parameters:
            where, name = parameter["in"], parameter["name"]
            if where == "path":
                path = path.replace("{" + name + "}", self._path_value(path, random))
            elif where == "query" and random.random() < 0.3:
                query += self._query_values(parameter, random)
            elif where == "header" and name != "Content-type" and random.random() < 0.3:
                headers[name] = random.choice(AUTH)
            elif where == "body":
                body = self._body(operation, parameter["schema"], headers, random)
        if random.random() < 0.03:
            query.append(random.choice(ODD_QUERIES))
        if random.random() < 0.02:
            method = random.choice(METHODS)
        if random.random() < 0.01:
            flood = range(random.choice((5, 200)))
            headers |= {f"X-{n}": "y" * random.choice((1, 5000)) for n in flood}
        version = random.choice(VERSIONS if random.random() < 0.3 else ("", "/v1.56"))
        return Sent(
            operation=operation,
            method=method,
            target=version + path + ("?" + "&".join(query) if query else ""),
            headers=tuple(headers.items()),
            body=body,
            cut_s=CUT_S if operation in STREAMS else None,
            breaks_off="Transfer-Encoding" in headers,
        )

    def _path_value(self, path: str, random: Random) -> str:
        known = self._names.get(path.split("/", 2)[1], ())
        if known and random.random() < 0.85:
            return quote(random.choice(known), safe="/:@")
        text = random.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
        return quote(text, safe=random.choice(("", "/:@"))) or "%20"

    def _query_values(self, parameter: Mapping[str, Any], random: Random) -> Iterator[str]:
        text = self._query_text(parameter, random).encode("utf-8", "surrogatepass")
        for _ in range(random.choice((1, 1, 1, 1, 2))):
            yield f"{parameter['name']}={quote(text, safe='')}"

    def _query_text(self, parameter: Mapping[str, Any], random: Random) -> str:
        name, kind = parameter["name"], parameter.get("type")
        known = QUERY.get(name, ())
        if name == "filters":
            text = json.dumps(odd_filters(random))
            return text[: len(text) // 2] if random.random() < 0.05 else text
        if kind == "boolean":
            return random.choice(BOOLEANS)
        if known and random.random() < 0.9:
            return known[0] if random.random() < self._good else random.choice(known)
        if name == "name" and random.random() < 0.8:
            return str(random.choice(MEMBERS["Name"]))
        return random.choice(NUMBERS if kind == "integer" else ODD_TEXTS)

    def _body(
        self, operation: str, schema: Mapping[str, Any], headers: dict[str, str], random: Random
    ) -> bytes | None:
        if schema.get("format") == "binary":
            headers["Content-Type"] = "application/x-tar"
            return _chunked(make_archive(random), headers, random)
        chance = random.random()
        if chance < 0.03:
            return None
        headers["Content-Type"] = JSON if random.random() < 0.97 else random.choice(ODD_TYPES)
        if chance < 0.06:
            return random.choice(ODD_BODIES)
        return _chunked(self._bodies.make(operation, schema, random), headers, random)


def _chunked(data: bytes, headers: dict[str, str], random: Random) -> bytes:
    """Now and then in chunks, whole, cut off, or none."""
    if random.random() > 0.05:
        return data
    headers["Transfer-Encoding"] = "chunked"
    whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
    return random.choice((whole, whole, whole[: len(whole) // 2], b"zz\r\n", b"-1\r\n\r\n"))
