"""The Engine API's definition as a test oracle: which operations there are, whether answers fit.

The definition is not part of this project. It is read from the file that WHARFINGER_API_DEFINITION
names, else from `../shared/api/` beside the repository; tests that need it skip where it is absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

VARIABLE: Final = "WHARFINGER_API_DEFINITION"
NAME: Final = "engine-v1.56.yaml"
_ROOT: Final = Path(__file__).parents[3]
_METHODS: Final = frozenset({"get", "head", "post", "put", "delete", "options", "patch"})
_KEPT: Final = ("type", "enum", "minimum", "maximum", "pattern", "minLength", "maxLength")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the definition."""

    method: str  # upper case
    path: str  # "/containers/{id}/json"
    id: str  # "ContainerInspect"


def reference_folder() -> Path | None:
    """Where the reference data lies, if it does."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).parent
    # A linked working tree lies elsewhere than the clone; both are looked beside.
    for root in (_ROOT, *_ROOT.parents):
        if (root.parent / "shared" / "api" / NAME).is_file():
            return root.parent / "shared" / "api"
    return None


def require_definition() -> Definition:
    """The definition; skips the running test where there is none."""
    folder = reference_folder()
    path = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else (folder or _ROOT) / NAME
    if not path.is_file():
        pytest.skip(f"the API definition is not here: set {VARIABLE} to the path of {NAME}")
    return _load(path)


@lru_cache(maxsize=1)
def _load(path: Path) -> Definition:
    return Definition(yaml.load(path.read_text(), Loader=yaml.CSafeLoader))


class Definition:
    """A parsed OpenAPI 2.0 document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document  # as it was read
        definitions: Mapping[str, Any] = document["definitions"]
        self._collections = frozenset(
            f"#/definitions/{name}"
            for name, schema in definitions.items()
            if _is_collection(schema)
        )
        self._schemas = {
            name: to_json_schema(schema, self._collections) for name, schema in definitions.items()
        }

    def operations(self) -> Iterator[Operation]:
        """All of them, in the document's order."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in _METHODS:
                    yield Operation(method.upper(), path, operation["operationId"])

    def validate(self, operation_id: str, status: int, body: object) -> None:
        """Check a decoded answer. An operation that promises no schema takes anything.

        Raises:
            LookupError: there is no such operation, or no such answer of it.
            jsonschema.ValidationError: the body does not fit.
        """
        schema = self._response(operation_id, status).get("schema")
        body = _without_deviations(operation_id, body)
        if schema is not None:
            self._check(to_json_schema(schema, self._collections), body)

    def validate_as(self, definition: str, value: object) -> None:
        """Check a value against one named schema."""
        self._check({"$ref": f"#/definitions/{definition}"}, value)

    def _response(self, operation_id: str, status: int) -> Mapping[str, Any]:
        for item in self.document["paths"].values():
            for operation in item.values():
                if operation["operationId"] == operation_id:
                    responses: Mapping[Any, Any] = operation["responses"]
                    found = responses.get(status, responses.get(str(status)))
                    if found is None:
                        raise LookupError(f"{operation_id} does not answer {status}")
                    return dict(found)
        raise LookupError(f"no operation {operation_id}")

    def _check(self, schema: Mapping[str, Any], value: object) -> None:
        whole = {**schema, "definitions": self._schemas}
        validator = jsonschema.Draft202012Validator(whole)
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if error is not None:
            raise error


def _without_deviations(operation_id: str, body: object) -> object:
    """`body` without what dockerd answers in another way than it is defined, and clients rely on.

    An exec that has not ended has no exit code: null, though the definition wants a number. So has
    a container whose swappiness is the host's, and the data of a graph driver that is a
    snapshotter's (below API 1.52). A secret that was made has an ID, not an Id.
    """
    if operation_id in ("SecretCreate", "ConfigCreate") and isinstance(body, Mapping):
        return {"Id": body["ID"]}
    if (
        operation_id == "ExecInspect"
        and isinstance(body, Mapping)
        and body.get("ExitCode", 0) is None
    ):
        return {name: value for name, value in body.items() if name != "ExitCode"}
    if operation_id == "ContainerInspect" and isinstance(body, Mapping):
        host = {n: v for n, v in body["HostConfig"].items() if (n, v) != ("MemorySwappiness", None)}
        driver = body.get("GraphDriver") or {}
        others = {n: v for n, v in body.items() if n != "GraphDriver" or driver["Data"] is not None}
        return {**others, "HostConfig": host}
    return body


def to_json_schema(
    schema: Mapping[str, Any], collections: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """An OpenAPI 2.0 schema in JSON Schema's words. `collections` refer to lists and maps.

    - `x-nullable` adds null, also beside `$ref` and `allOf`, where OpenAPI 2.0 would pass it over:
      the definition uses it so.
    - A list or a map may be null wherever its member may be left out: dockerd writes Go's empty
      ones so in many places where the definition does not say it (HostConfig.Binds), and clients
      know it. Where the definition demands the member, or says `x-nullable: false`, null is wrong.
    - A name that is required but defined nowhere is a slip of the definition, and not demanded.
    - Formats (int64, dateTime) are not JSON Schema's, and not checked.
    """
    converted: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if "$ref" in schema:
        converted = {"$ref": schema["$ref"]}
    if "allOf" in schema:
        converted["allOf"] = [to_json_schema(part, collections) for part in schema["allOf"]]
    if "items" in schema:
        converted["items"] = to_json_schema(schema["items"], collections)
    properties = schema.get("properties", {})
    if properties and "$ref" not in schema:
        required = frozenset(schema.get("required", ()))
        converted["properties"] = {
            name: _or_null(converted_inner)
            if _may_be_null(inner, collections) and name not in required
            else converted_inner
            for name, inner in properties.items()
            for converted_inner in (to_json_schema(inner, collections),)
        }
    if isinstance(schema.get("additionalProperties"), Mapping):
        converted["additionalProperties"] = to_json_schema(
            schema["additionalProperties"], collections
        )
    known = _properties_of(schema)
    if demanded := [name for name in schema.get("required", ()) if name in known]:
        converted["required"] = demanded
    if schema.get("x-nullable"):
        return _or_null(converted)
    return converted


def _may_be_null(schema: Mapping[str, Any], collections: frozenset[str]) -> bool:
    """Whether a member is a list or a map, and the definition does not speak of null."""
    if "x-nullable" in schema:
        return False
    return _is_collection(schema) or schema.get("$ref") in collections


def _is_collection(schema: Mapping[str, Any]) -> bool:
    is_map = schema.get("type") == "object" and "additionalProperties" in schema
    return is_map or schema.get("type") == "array"


def _or_null(converted: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, converted]}


def _properties_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The names that the schema itself defines, and those of its inline parts."""
    names = set(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        names |= set(part.get("properties", {}))
    return frozenset(names)
