"""What is not offered, and what there is none of."""

from __future__ import annotations

from pathlib import Path

from services.api.routes.absent import absent_blueprint
from services.api.routes.not_yet import UNSUPPORTED
from services.api.routes.unsupported import unsupported_blueprint
from tests.services.api.client import api_of
from tests.services.api.openapi import require_definition


async def test_each_refusal_is_its_sentence(tmp_path: Path) -> None:
    """501 with the table's sentence, for every row, also where a name holds slashes."""
    async with api_of(tmp_path, unsupported_blueprint(), absent_blueprint()) as api:
        for row in UNSUPPORTED:
            path = row.path.replace("{name}", "r.example:5000/a/b:tag").replace("{id}", "abc")
            answer = await api.call(row.method, f"/v1.44{path}")
            assert answer.status == 501, row
            if row.method != "HEAD":
                assert answer.message == row.sentence


async def test_empty_lists(tmp_path: Path) -> None:
    """There are none, in the definition's shape; a malformed filter is refused all the same."""
    path, operation = "/plugins", "PluginList"
    async with api_of(tmp_path, absent_blueprint()) as api:
        answer = await api.call("GET", path)
        refused = await api.call("GET", f"{path}?filters=x")
    require_definition().validate(operation, 200, answer.json())
    assert refused.status == 400
