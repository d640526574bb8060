"""Our .proto files against containerd's own, as Debian ships them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.protos.descriptors import Schema, needs_protoc, our_schema, read_schema

SOURCES = Path("/usr/share/gocode/src")
CONTAINERD = SOURCES / "github.com/containerd/containerd"

# Our names for types that are not containerd's.
FOREIGN = {
    ".wire.Any": ".google.protobuf.Any",
    ".wire.Empty": ".google.protobuf.Empty",
    ".wire.FieldMask": ".google.protobuf.FieldMask",
    ".wire.Timestamp": ".google.protobuf.Timestamp",
    ".containerd.services.introspection.v1.Failure": ".google.rpc.Status",
}

OF_CONTAINERD = (".containerd.", ".wire.")

pytestmark = [
    needs_protoc,
    pytest.mark.skipif(
        not CONTAINERD.exists(), reason="golang-github-containerd-containerd-dev is missing"
    ),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    """containerd's API, the runc shim's options, and the well-known types."""
    files = [
        str(file.relative_to(SOURCES))
        for folder in ("api", "runtime/v2/runc/options")
        for file in sorted((CONTAINERD / folder).rglob("*.proto"))
        if "ttrpc" not in file.parts
    ]
    well_known = [f"google/protobuf/{name}.proto" for name in ("any", "empty", "field_mask")]
    includes = [
        SOURCES,
        SOURCES / "github.com/gogo/protobuf",
        SOURCES / "github.com/gogo/googleapis",
        Path("/usr/include"),
    ]
    return read_schema(
        includes,
        [*files, *well_known, "google/protobuf/timestamp.proto", "google/rpc/status.proto"],
        tmp_path_factory.mktemp("theirs"),
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    """What in protos/ is containerd's or the runc shim's, and the well-known types."""
    schema = our_schema(tmp_path_factory.mktemp("ours"))
    for part in (schema.messages, schema.enums, schema.methods):
        for name in [each for each in part if not each.startswith(OF_CONTAINERD)]:
            del part[name]
    return schema


def test_fields_are_containerds(ours: Schema, theirs: Schema) -> None:
    """Each field of ours has the name, number, type and repetition that it has there."""
    for name, fields in ours.messages.items():
        reference = theirs.messages[FOREIGN.get(name, name)]
        for number, (field_name, kind, is_repeated) in fields.items():
            expected = (field_name, FOREIGN.get(kind, kind), is_repeated)
            assert reference[number] == expected, f"{name}.{field_name}"


def test_enums_are_containerds(ours: Schema, theirs: Schema) -> None:
    """Each enum has the same values, none left out: an unknown one would not decode to a name."""
    for name, values in ours.enums.items():
        assert theirs.enums[name] == values, name


def test_methods_are_containerds(ours: Schema, theirs: Schema) -> None:
    """Each method takes and gives the same messages, in streams where it does there."""
    for name, (request, reply, *streams) in ours.methods.items():
        expected = (FOREIGN.get(request, request), FOREIGN.get(reply, reply), *streams)
        assert theirs.methods[name] == expected, name
