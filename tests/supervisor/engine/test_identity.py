"""supervisor.engine.identity: the engine's id."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from supervisor.engine.identity import IdentityError, key_id, load_or_create_engine_id

# The public part of the key in RFC 7517, appendix A.1.
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


def test_a_new_id_is_made_once(tmp_path: Path) -> None:
    """A UUID, kept for later starts and readable by root only."""
    first = load_or_create_engine_id(tmp_path)
    assert str(uuid.UUID(first)) == first
    assert load_or_create_engine_id(tmp_path) == first
    assert (tmp_path / "engine-id").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["engine-id"]


def test_a_legacy_key_gives_its_id_until_there_is_one(tmp_path: Path) -> None:
    """The id that clients knew stays; once kept, the key does not matter any more."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(P256))
    data_root = tmp_path / "data"
    data_root.mkdir()
    engine_id = load_or_create_engine_id(data_root, legacy_key=key)
    assert engine_id == key_id(key.read_bytes())
    key.write_text("broken")
    assert load_or_create_engine_id(data_root, legacy_key=key) == engine_id


def test_a_key_that_is_missing_is_no_matter(tmp_path: Path) -> None:
    """Most machines have none."""
    uuid.UUID(load_or_create_engine_id(tmp_path, legacy_key=tmp_path / "key.json"))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kty": "RSA"}', '{"kty":"EC","crv":"P-1"}'])
def test_a_key_that_cannot_be_read_is_an_error(tmp_path: Path, content: str) -> None:
    """Nothing is made up in its place."""
    key = tmp_path / "key.json"
    key.write_text(content)
    with pytest.raises(IdentityError, match=r"key\.json"):
        load_or_create_engine_id(tmp_path, legacy_key=key)
    assert not (tmp_path / "engine-id").exists()


def test_an_empty_id_is_an_error(tmp_path: Path) -> None:
    """It says what to do."""
    (tmp_path / "engine-id").touch()
    with pytest.raises(IdentityError, match="remove it to get a new engine id"):
        load_or_create_engine_id(tmp_path)


def test_key_ids_look_like_libtrusts() -> None:
    """Twelve groups of four letters of base32."""
    assert re.fullmatch(r"([A-Z2-7]{4}:){11}[A-Z2-7]{4}", key_id(json.dumps(P256).encode()))
