"""The values in daemon.json: each checked, and turned into what a flag of its kind gives.

Source: moby, daemon/config/config.go, and Go's encoding/json (the sentences).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from .option import Kind, Value
from .values import (
    AddressPool,
    Runtime,
    Ulimit,
    make_pool,
    parse_domain,
    parse_ip,
    parse_label,
    parse_size_bytes,
    quoted,
)

_JSON_KINDS = ((bool, "bool"), (int, "number"), (float, "number"), (str, "string"))


def json_kind(value: object) -> str:
    """What Go calls the kind of a JSON value."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return next((name for kind, name in _JSON_KINDS if isinstance(value, kind)), "null")


def _wrong(key: str, value: object, wanted: str) -> ValueError:
    kind = json_kind(value)
    if isinstance(value, float) and wanted == "int":
        kind = f"number {value!r}"
    return ValueError(
        f"json: cannot unmarshal {kind} into Go struct field Config.{key} of type {wanted}"
    )


def convert(key: str, kind: Kind, value: object) -> Value:
    """One value of the file as the option's kind has it.

    Raises:
        ValueError: it is of the wrong type, or not allowed.
    """
    match kind:
        case Kind.BOOL:
            return _bool(key, value)
        case Kind.INT:
            return _int(key, value)
        case Kind.STRING | Kind.NRI:
            return _str(key, value)
        case Kind.BYTES:
            return parse_size_bytes(str(value) if type(value) is int else _str(key, value))
        case Kind.IP:
            return parse_ip(_str(key, value))
        case Kind.IPS if isinstance(value, str):
            return (str(parse_ip(value)),)
        case Kind.IPS:
            return _list(key, value, lambda text: str(parse_ip(text)))
        case Kind.LABELS:
            return _list(key, value, parse_label)
        case Kind.DOMAINS:
            return _list(key, value, parse_domain)
        case Kind.LIST | Kind.HOSTS:
            return _list(key, value, str)
        case Kind.SCOPES:
            return tuple(json.dumps(item) for item in _array(key, value))
        case Kind.MAP:
            return _map(key, value)
        case Kind.ULIMITS:
            return tuple(_ulimit(key, name, item) for name, item in _object(key, value).items())
        case Kind.RUNTIMES:
            return tuple(_runtime(key, name, item) for name, item in _object(key, value).items())
        case Kind.POOLS:
            return _pools(key, value)
        case Kind.MAPMAP:
            return tuple(
                (driver, name, text)
                for driver, options in _object(key, value).items()
                for name, text in _map(f"{key}.{driver}", options)
            )


def _bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, value, "bool")
    return value


def _int(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(key, value, "int")
    return value


def _str(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(key, value, "string")
    return value


def _object(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(key, value, "map[string]string")
    return value


def _array(key: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise _wrong(key, value, "[]object")
    return value


def _list(key: str, value: object, convert: Callable[[str], str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "[]string")
    return tuple(convert(_str(key, item)) for item in value)


def _pools(key: str, value: object) -> tuple[AddressPool, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "[]*ipamutils.NetworkToSplit")
    pools = []
    for item in value:
        fields = _object(key, item)
        base, size = fields.get("base", ""), fields.get("size", 0)
        pools.append(make_pool(_str(f"{key}.base", base), _int(f"{key}.size", size)))
    return tuple(pools)


def _map(key: str, value: object) -> tuple[tuple[str, str], ...]:
    if key == "features":  # the one map whose values are booleans
        return tuple(
            (name, str(_bool(f"{key}.{name}", item)).lower())
            for name, item in _object(key, value).items()
        )
    return tuple((name, _str(key, item)) for name, item in _object(key, value).items())


def _ulimit(key: str, name: str, value: object) -> Ulimit:
    fields = {field.lower(): item for field, item in _object(key, value).items()}
    given = _str(key, fields.get("name", name))
    soft = _int(f"{key}.Soft", fields.get("soft", 0))
    return Ulimit(name=given, soft=soft, hard=_int(f"{key}.Hard", fields.get("hard", 0)))


_RUNC_V2: Final = "io.containerd.runc.v2"
# Options of runc's shim: their names in Go's message, ours, and their kinds.
_RUNC_OPTIONS: Final[Mapping[str, tuple[str, type[bool] | type[int] | type[str]]]] = {
    "NoPivotRoot": ("no_pivot_root", bool), "NoNewKeyring": ("no_new_keyring", bool),
    "ShimCgroup": ("shim_cgroup", str), "IoUid": ("io_uid", int), "IoGid": ("io_gid", int),
    "BinaryName": ("binary_name", str), "Root": ("root", str),
    "SystemdCgroup": ("systemd_cgroup", bool),
}  # fmt: skip


def _runtime_options(
    key: str, name: str, fields: Mapping[str, object]
) -> Mapping[str, bool | int | str]:
    """Options of a runtimeType, by our names; those of runc's shim are the only ones known."""
    given = _object(key, fields.get("options") or {})
    if not given:
        return MappingProxyType({})
    if fields.get("path"):
        raise ValueError(f"runtime {name}: options cannot be used with a path runtime")
    if fields.get("runtimeType") != _RUNC_V2:
        raise ValueError(f"runtime {name}: options are supported for {_RUNC_V2} only")
    options: dict[str, bool | int | str] = {}
    for option, value in given.items():
        ours, kind = _RUNC_OPTIONS.get(option, ("", str))
        if not ours:
            raise ValueError(f"runtime {name}: unknown option {quoted(option)}")
        if type(value) is not kind:
            raise _wrong(key, value, kind.__name__)
        options[ours] = value
    return MappingProxyType(options)


def _runtime(key: str, name: str, value: object) -> Runtime:
    if name == "runc":
        raise ValueError("runtime name 'runc' is reserved")
    fields = _object(key, value)
    unknown = fields.keys() - {"path", "runtimeArgs", "runtimeType", "options"}
    if unknown:
        raise ValueError(f"runtime {quoted(name)}: not supported: {', '.join(sorted(unknown))}")
    runtime = Runtime(
        name=name,
        path=_str(key, fields.get("path", "")),
        arguments=_list(key, fields.get("runtimeArgs", []), str),
        type=_str(key, fields.get("runtimeType", "")),
        options=_runtime_options(key, name, fields),
    )
    if bool(runtime.path) == bool(runtime.type):
        raise ValueError(
            f"runtime {quoted(name)}: "
            + (
                "cannot configure both path and runtimeType for the same runtime"
                if runtime.path
                else "either a runtimeType or a path must be configured"
            )
        )
    return runtime
