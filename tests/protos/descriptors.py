"""What .proto files say, as plain dicts: read by protoc, so that no parser of ours can be wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from betterproto2_compiler.lib.google.protobuf import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FieldDescriptorProtoLabel,
    FieldDescriptorProtoType,
    FileDescriptorSet,
)

PROTOS = Path(__file__).resolve().parent.parent.parent / "protos"

needs_protoc = pytest.mark.skipif(shutil.which("protoc") is None, reason="protoc is missing")


@dataclass
class Schema:
    """Names are with their package, and begin with a dot as protoc has it."""

    # message -> number -> (name, type or name of the type, whether repeated)
    messages: dict[str, dict[int, tuple[str, str, bool]]] = field(default_factory=dict)
    enums: dict[str, dict[int, str]] = field(default_factory=dict)
    # "service/method" -> (request, reply, requests stream, replies stream)
    methods: dict[str, tuple[str, str, bool, bool]] = field(default_factory=dict)


def read_schema(includes: Sequence[Path], files: Sequence[str], folder: Path) -> Schema:
    """The schema of `files`, which are relative to one of `includes`; `folder` is for scratch."""
    out = folder / "descriptors.pb"
    flags = [f"--proto_path={include}" for include in includes]
    subprocess.run(
        ["protoc", *flags, f"--descriptor_set_out={out}", *files], check=True, capture_output=True
    )
    schema = Schema()
    for file in FileDescriptorSet.parse(out.read_bytes()).file:
        prefix = f".{file.package}"
        for name, message in _messages(prefix, file.message_type):
            schema.messages[name] = {each.number: _field(each) for each in message.field}
            schema.enums.update(_enums(name, message.enum_type))
        schema.enums.update(_enums(prefix, file.enum_type))
        for service in file.service:
            for method in service.method:
                schema.methods[f"{prefix}.{service.name}/{method.name}"] = (
                    method.input_type,
                    method.output_type,
                    method.client_streaming,
                    method.server_streaming,
                )
    return schema


def our_schema(folder: Path) -> Schema:
    """Everything in protos/."""
    files = sorted(str(file.relative_to(PROTOS)) for file in PROTOS.rglob("*.proto"))
    return read_schema([PROTOS], files, folder)


def _messages(
    prefix: str, messages: Sequence[DescriptorProto]
) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, message
        yield from _messages(name, message.nested_type)


def _enums(prefix: str, enums: Sequence[EnumDescriptorProto]) -> dict[str, dict[int, str]]:
    return {
        f"{prefix}.{enum.name}": {value.number: value.name for value in enum.value}
        for enum in enums
    }


def _field(each: FieldDescriptorProto) -> tuple[str, str, bool]:
    kind = each.type_name or FieldDescriptorProtoType(each.type).name or ""
    return each.name, kind, each.label == FieldDescriptorProtoLabel.REPEATED
