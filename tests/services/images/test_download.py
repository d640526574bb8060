"""Archives from elsewhere: what cannot be fetched is said in words that are not Python's."""

from __future__ import annotations

import pytest

from services.errors import EngineError, InvalidParameter
from services.images.download import download, download_url


@pytest.mark.parametrize("source", ["", "file:///x", "http://", "http://[", "a\x00b"])
async def test_what_is_no_url(source: str) -> None:
    """The client's mistake."""
    with pytest.raises(InvalidParameter, match="invalid URL"):
        async with download(download_url(source)):
            pass


@pytest.mark.parametrize("host", ["a" * 64, "nosuch.invalid"])
async def test_a_host_that_is_not_there(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it that no resolver knows it, or that none can be asked for it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EngineError, match=f"lookup {host}: no such host"):
        async with download(download_url(host)):
            pass
