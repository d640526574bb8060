"""docs/compatibility.md, written from the tables that the engine itself goes by.

`python -m tests.compatibility_doc` writes the page anew; a test compares it with what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol
from unittest.mock import MagicMock

from quart import Blueprint, Quart

from services.api.routes.not_yet import LIMITS, UNSUPPORTED
from services.api.routes.unsupported import unsupported_blueprint
from services.api.versions.container_answers import INSPECT_ROWS, SUMMARY_ROWS
from services.api.versions.create import ROWS
from services.api.versions.service import SERVICE_ROWS
from services.api.versions.update import UPDATE_ROWS
from services.api.versions.version import CURRENT, MINIMUM, ApiVersion
from supervisor.configuration.option import Option
from supervisor.configuration.options import OPTIONS
from supervisor.faces.routes import served_blueprints

PAGE: Final = Path(__file__).parents[1] / "docs" / "compatibility.md"
PING: Final = (("GET", "/_ping"), ("HEAD", "/_ping"))
"""Answered before any route is asked."""

Operation = tuple[str, str]
"""Method and path; each name in the path is "{}", whatever it is called."""


class VersionRow(Protocol):
    """A row of one of the tables about API versions."""

    @property
    def what(self) -> str:
        """What it changes."""

    @property
    def since(self) -> ApiVersion | None:
        """The first version that it is for."""

    @property
    def below(self) -> ApiVersion | None:
        """The first version that it is not for any more."""


def served_operations() -> set[Operation]:
    """All operations that a route answers with something else than 501."""
    blueprints = served_blueprints(
        MagicMock(), MagicMock(), MagicMock(), MagicMock()
    )  # only the rules are looked at
    return {*rules_of(*blueprints), *PING}


def refused_operations() -> set[Operation]:
    """All operations that a route answers with 501."""
    return rules_of(unsupported_blueprint())


def rules_of(*blueprints: Blueprint) -> set[Operation]:
    """The operations that these blueprints' rules stand for."""
    app = Quart("rules", static_folder=None)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return {
        (method, re.sub(r"<[^>]*>", "{}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if method != "HEAD" or rule.methods == {"HEAD", "OPTIONS"}
    }


def plain(path: str) -> str:
    """A path of the definition without the names in its braces."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_operations(), *_versions(), *_flags(), ""])


def _head() -> Iterator[str]:
    yield "# Compatibility"
    yield ""
    yield f"Wharfinger speaks the Docker Engine API {MINIMUM} to {CURRENT}. What it does not offer"
    yield "yet it refuses with one sentence: an operation with status 501, a flag when it starts."
    yield "This page is written from the engine's own tables (`python -m tests.compatibility_doc`),"
    yield "and a test keeps it so."
    yield ""
    yield "Two answers are our own. Events that a reader was too slow for are told, in their place,"
    yield "as an event of type `daemon` with the action `events-lost`, whose attribute `count` says"
    yield "how many there were. A query parameter that is no number is answered with 400, not 500."
    yield ""


def _operations() -> Iterator[str]:
    yield "## Operations"
    yield ""
    yield "| Operation | State | |"
    yield "| --- | --- | --- |"
    refused: Mapping[Operation, str] = {
        (row.method, plain(row.path)): row.sentence for row in UNSUPPORTED
    }
    for method, path in sorted({*served_operations(), *refused}, key=lambda one: one[::-1]):
        state = "501" if (method, path) in refused else "yes"
        if state == "yes" and (method, path) in LIMITS:
            state = "partly"
        remark = refused.get((method, path)) or LIMITS.get((method, path), "")
        yield f"| `{method} {path}` | {state} | {remark} |"
    yield ""


def _versions() -> Iterator[str]:
    yield "## Containers and services by API version"
    yield ""
    yield "What dockerd changes for clients of other versions than the newest, row by row."
    yield ""
    yield "| Request or answer | API versions | What it has there |"
    yield "| --- | --- | --- |"
    tables: tuple[tuple[str, Iterable[VersionRow]], ...] = (
        ("create", ROWS),
        ("update", UPDATE_ROWS),
        ("inspect", INSPECT_ROWS),
        ("list", SUMMARY_ROWS),
        ("service", SERVICE_ROWS),
    )
    for name, rows in tables:
        for row in rows:
            yield f"| {name} | {versions_text(row)} | {row.what} |"
    yield ""


def versions_text(row: VersionRow) -> str:
    """For whom a row is: "to 1.41", "from 1.44 to 1.51", "all"."""
    first = f"from {row.since}" if row.since else ""
    last = f"to {ApiVersion(row.below.major, row.below.minor - 1)}" if row.below else ""
    return " ".join(part for part in (first, last) if part) or "all"


def _flags() -> Iterator[str]:
    yield "## Flags of dockerd"
    yield ""
    yield "`python -m supervisor` takes them all. One that is refused may be given its default."
    own = ", ".join(f"`--{option.flag}`" for option in OPTIONS.values() if option.is_ours)
    yield f"Flags of our own: {own}."
    yield ""
    yield "| Flag | State | |"
    yield "| --- | --- | --- |"
    theirs = [option for option in OPTIONS.values() if not option.is_ours]
    for option in sorted(theirs, key=lambda option: option.flag):
        state, remark = ("refused", option.refused) if option.refused else ("yes", option.help)
        yield f"| `{flag_text(option)}` | {state} | {remark} |"


def flag_text(option: Option) -> str:
    """A flag as dockerd's list of flags has it: short form, long form, kind of value."""
    short = f"-{option.short} " if option.short else ""
    word = f" <{option.kind.word}>" if option.kind.word else ""
    return f"{short}--{option.flag}{word}"


if __name__ == "__main__":
    PAGE.write_text(page())
