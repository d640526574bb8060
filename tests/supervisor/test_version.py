"""supervisor.version: which Wharfinger this is."""

from __future__ import annotations

from pathlib import Path

from supervisor.version import VERSION, build_id

ROOT = Path(__file__).parents[2]


def test_the_version_is_pyprojects() -> None:
    """One version, in two places that agree."""
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_the_build_is_read_from_git_however_it_is_kept(tmp_path: Path) -> None:
    """A branch in a file, a packed branch, a detached head, and no git at all."""
    git = tmp_path / ".git"
    assert build_id(tmp_path) == "unknown"
    (git / "refs").mkdir(parents=True)
    (git / "HEAD").write_text("0123456789abcdef\n")
    assert build_id(tmp_path) == "0123456"
    (git / "HEAD").write_text("ref: refs/main\n")
    (git / "packed-refs").write_text("# pack-refs\nabcdef0123 refs/main\n")
    assert build_id(tmp_path) == "abcdef0"
    (git / "refs" / "main").write_text("fedcba9876\n")
    assert build_id(tmp_path) == "fedcba9"
