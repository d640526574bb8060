"""Versions: how they are read off a path and compared."""

from __future__ import annotations

import pytest

from services import errors
from services.api.versions.version import ApiVersion, negotiate, split_version


def test_version_texts() -> None:
    """Versions compare as numbers and are split off the path only where they are versions."""
    assert negotiate("1.24") == ApiVersion(1, 24) < ApiVersion(1, 56) == negotiate(None)
    assert str(ApiVersion(1, 24)) == "1.24"
    assert split_version("/v1.44/a/b") == ("1.44", "/a/b")
    assert split_version("/version") == (None, "/version")
    assert split_version("/v1.44") == (None, "/v1.44")
    for text in ("...", "9" * 5000, "1..2"):
        with pytest.raises(errors.InvalidParameter):
            negotiate(text)
