"""The engine's id: made once, kept in the data-root, told in `docker info`.

Source: moby, daemon/id.go; for the legacy key, the key ids of docker/libtrust.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from pathlib import Path
from types import MappingProxyType
from typing import Final

ID_FILE: Final = "engine-id"

# What stands before the point in a DER SubjectPublicKeyInfo (RFC 5480), by curve, with the length
# of a coordinate in bytes.
_SPKI_PREFIX: Final = MappingProxyType(
    {
        "P-256": (32, bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")),
        "P-384": (48, bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")),
        "P-521": (66, bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600")),
    }
)


class IdentityError(Exception):
    """The id that this engine had cannot be read; a new one would pass it off as another engine."""


def load_or_create_engine_id(data_root: Path, *, legacy_key: Path | None = None) -> str:
    """The id in `data_root`, else the one of `legacy_key` (a key.json), else a new one; kept.

    Blocking. `data_root` exists.

    Raises:
        IdentityError: a file is there and unusable.
        OSError: the id cannot be read or kept.
    """
    path = data_root / ID_FILE
    try:
        engine_id = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        engine_id = _legacy_id(legacy_key) or str(uuid.uuid4())
        _write(path, engine_id)
    if not engine_id:
        raise IdentityError(f"{path} is empty: restore it, or remove it to get a new engine id")
    return engine_id


def _legacy_id(path: Path | None) -> str:
    """The id of the key in `path`; empty when there is no such file."""
    if path is None:
        return ""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ""
    try:
        return key_id(data)
    except (ValueError, KeyError, TypeError) as error:
        raise IdentityError(f"{path} cannot be read as an engine's key: {error}") from error


def key_id(jwk: bytes) -> str:
    """libtrust's id of a key: of the SHA-256 of its public part 240 bits, as 12 groups of base32.

    Raises:
        ValueError, KeyError, TypeError: not an elliptic curve key in JWK (RFC 7517).
    """
    key = json.loads(jwk)
    if key["kty"] != "EC" or key["crv"] not in _SPKI_PREFIX:
        raise ValueError(f"unsupported key type {key['kty']!r}")
    length, prefix = _SPKI_PREFIX[key["crv"]]
    point = b"".join(_coordinate(key[name], length) for name in ("x", "y"))
    digest = hashlib.sha256(prefix + b"\x04" + point).digest()
    text = base64.b32encode(digest[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def _coordinate(text: str, length: int) -> bytes:
    value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(value) > length:
        raise ValueError("a coordinate is too long for its curve")
    return value.rjust(length, b"\0")


def _write(path: Path, engine_id: str) -> None:
    """Whole or not at all, and on disk before anybody is told the id."""
    temporary = path.with_name(f".{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(engine_id)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
