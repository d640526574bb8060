"""The oracle itself: it must refuse what does not fit, or it proves nothing."""

from __future__ import annotations

import jsonschema
import pytest

from tests.services.api.openapi import require_definition, to_json_schema


def test_the_definition_is_whole() -> None:
    """Every operation is found, under a name of its own."""
    operations = list(require_definition().operations())
    assert len(operations) == len({operation.id for operation in operations}) == 108


def test_a_wrong_type_is_refused() -> None:
    """A string in place of a list of strings does not fit."""
    definition = require_definition()
    with pytest.raises(jsonschema.ValidationError):
        definition.validate_as("ImageInspect", {"RepoTags": "busybox"})


def test_a_missing_member_is_refused() -> None:
    """A summary without its required members does not fit."""
    with pytest.raises(jsonschema.ValidationError, match="required"):
        require_definition().validate("ImageList", 200, [{"Id": "sha256:1"}])


def test_null_needs_permission() -> None:
    """null fits only where the definition says so, beside a reference too."""
    definition = require_definition()
    definition.validate_as("ImageInspect", {"Descriptor": None})
    with pytest.raises(jsonschema.ValidationError):
        definition.validate_as("ImageInspect", {"Config": None})


def test_go_s_empty_lists_and_maps_may_be_null() -> None:
    """Where a list or map may be left out, and nowhere else."""
    definition = require_definition()
    definition.validate_as("HostConfig", {"Binds": None, "ExtraHosts": None})
    for schema, value in (
        ("HostConfig", {"MemorySwappiness": None}),
        ("HostConfig", {"LogConfig": None}),
        ("DriverData", {"Name": "x", "Data": None}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            definition.validate_as(schema, value)


def test_an_exec_without_an_exit_code() -> None:
    """dockerd's null is allowed for, a text is not."""
    definition = require_definition()
    definition.validate("ExecInspect", 200, {"ExitCode": None})
    with pytest.raises(jsonschema.ValidationError):
        definition.validate("ExecInspect", 200, {"ExitCode": "0"})


def test_unknown_answers_are_refused() -> None:
    """An operation or status that the definition lacks is an error of the test."""
    definition = require_definition()
    with pytest.raises(LookupError):
        definition.validate("NoSuchThing", 200, {})
    with pytest.raises(LookupError):
        definition.validate("ImageList", 418, [])


def test_a_required_name_that_is_nowhere_defined_is_not_demanded() -> None:
    """The definition has such slips; what it does define stays required."""
    schema = to_json_schema(
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}}
    )
    assert schema["required"] == ["a"]
