"""Whether an audit log can be written, before it is relied on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from services.errors import EngineError

MODE: Final = 0o600
FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def require_writable(path: Path) -> None:
    """Make the file, if it is not there. Blocks.

    Raises:
        EngineError: it cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, FLAGS, MODE))
    except OSError as error:
        raise EngineError(f"audit log {path}: {error.strerror or error}") from error
