"""The compatibility page, the routes, the definition and dockerd's flags all say the same."""

from __future__ import annotations

import pytest

from services.api.routes.not_yet import LIMITS, UNSUPPORTED
from supervisor.configuration.options import OPTIONS
from tests.compatibility_doc import (
    PAGE,
    flag_text,
    page,
    plain,
    refused_operations,
    served_operations,
)
from tests.services.api.openapi import reference_folder, require_definition


def test_the_page_is_up_to_date() -> None:
    """What it says is what the tables say; `python -m tests.compatibility_doc` writes it anew."""
    assert PAGE.read_text() == page()


def test_every_operation_of_the_definition_has_a_route() -> None:
    """Served or refused, and nothing beside."""
    defined = {(one.method, plain(one.path)) for one in require_definition().operations()}
    assert served_operations() | refused_operations() == defined


def test_no_operation_is_both_served_and_refused() -> None:
    """A route that comes to be served has to leave the table of the others."""
    assert served_operations() & refused_operations() == set()


def test_the_refusals_are_spelled_as_in_the_definition() -> None:
    """With the definition's own names in the paths, each once."""
    defined = {(one.method, one.path) for one in require_definition().operations()}
    refused = [(row.method, row.path) for row in UNSUPPORTED]
    assert set(refused) <= defined
    assert len(refused) == len(set(refused))


def test_limits_are_of_served_operations() -> None:
    """Nothing is said of what is refused anyway."""
    assert LIMITS.keys() <= served_operations()


def test_every_flag_of_dockerd_is_listed() -> None:
    """With its short form and its kind of value."""
    folder = reference_folder()
    if folder is None or not (folder / "dockerd-flags.txt").is_file():
        pytest.skip("the list of dockerd's flags is not here")
    theirs = set((folder / "dockerd-flags.txt").read_text().split("\n")) - {""}
    ours = {flag_text(option) for option in OPTIONS.values() if not option.is_ours}
    # `--help` and `--version` are the command line's own.
    assert theirs - ours <= {"--help", "-v --version", "--validate"}
    assert not {text for text in ours - theirs if not text.startswith("--version")}
