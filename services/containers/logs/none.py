"""The `none` driver: output is not kept. Give `Stdio` no log; reading is refused."""

from __future__ import annotations

from services.errors import NotSupported


def refuse_reading() -> NotSupported:
    """What GET /containers/{id}/logs answers.

    Source: moby, daemon/logger, ErrReadLogsNotSupported.
    """
    return NotSupported("configured logging driver does not support reading")
