"""Which Wharfinger this is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

VERSION: Final = "0.1.0"  # as in pyproject.toml; a test compares them


def build_id(root: Path = Path(__file__).parent.parent) -> str:
    """The commit that a clone at `root` is at, shortened; `unknown` outside one.

    Reads git's files and runs nothing: the answer is wanted at every start.
    """
    try:
        folder = root / ".git"
        if folder.is_file():  # a further working tree: the file says where its own state is
            folder = root / folder.read_text().removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:7]
        return _commit_of(folder, head.removeprefix("ref: "))[:7] or "unknown"
    except OSError:
        return "unknown"


def _commit_of(folder: Path, reference: str) -> str:
    """The commit a branch is at, or empty. Branches are kept in files or packed into one."""
    shared = folder / "commondir"
    common = (folder / shared.read_text().strip()) if shared.exists() else folder
    if (common / reference).exists():
        return (common / reference).read_text().strip()
    for line in (common / "packed-refs").read_text().splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return commit
    return ""
