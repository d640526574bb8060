"""daemon.json: its keys, checked, and its values as flags give them.

Source: moby, daemon/config/config.go (keys, what counts as a conflict, the sentences).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .file_values import convert, json_kind
from .option import Option, Value
from .options import IGNORED_KEYS, OPTIONS, REFUSED_KEYS

_OPTION_OF_KEY: Final[Mapping[str, Option]] = MappingProxyType(
    {
        **{option.key: option for option in OPTIONS.values() if option.key},
        "host-gateway-ip": OPTIONS["host-gateway-ip"],  # its key before it could hold two addresses
    }
)


def read_config_file(path: Path) -> dict[str, Value]:
    """The options that the file sets, by flag name.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, has a key that no option has, or a value of the wrong type; the
            text is dockerd's where dockerd has one.
    """
    return parse_config(path.read_bytes())


def parse_config(data: bytes) -> dict[str, Value]:
    """What `read_config_file` makes of the file's bytes. Empty text sets nothing."""
    text = _decode(data).strip()
    if not text:
        return {}
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"invalid JSON: {error.msg} ({where})") from error
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004  (the file is wrong, not the caller)
            f"json: cannot unmarshal {json_kind(document)} into Go value of type map"
        )
    # dockerd groups the proxies in the file; everything else lies flat.
    proxies = document.pop("proxies", None)
    if isinstance(proxies, dict):
        document |= proxies
    _check_keys(document.keys())
    return {
        _OPTION_OF_KEY[key].flag: convert(key, _OPTION_OF_KEY[key].kind, value)
        for key, value in document.items()
        if value is not None and key in _OPTION_OF_KEY
    }


def _check_keys(keys: Set[str]) -> None:
    for key in keys & REFUSED_KEYS.keys():
        raise ValueError(f"{key}: {REFUSED_KEYS[key]}")
    unknown = [key for key in keys if key not in _OPTION_OF_KEY and key not in IGNORED_KEYS]
    if unknown:
        raise ValueError(
            "the following directives don't match any configuration option: " + ", ".join(unknown)
        )
    if "host-gateway-ip" in keys and "host-gateway-ips" in keys:
        raise ValueError(
            "host-gateway-ip and host-gateway-ips must not both be specified in the config file"
        )


def _decode(data: bytes) -> str:
    """UTF-8, or what the byte order mark says."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding)
    return data.decode("utf-8-sig")
