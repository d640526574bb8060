"""supervisor.reloading.table: each setting says how it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from supervisor.configuration.loading import load
from supervisor.configuration.option import Value
from supervisor.configuration.options import OPTIONS
from supervisor.configuration.settings import Settings
from supervisor.reloading.table import FIELDS, RULES, How, names_of, rule_of

# They are taken, and change nothing: see docs/configuration.md.
WITHOUT_EFFECT = {"firewall-backend", "ip-forward-no-drop", "storage-driver"}


def leaves(section: object, prefix: str = "") -> Iterator[str]:
    """Paths of all fields that are no sections."""
    for field in fields(section):  # type: ignore[arg-type]
        value = getattr(section, field.name)
        path = prefix + field.name
        if is_dataclass(value) and not isinstance(value, type):
            yield from leaves(value, path + ".")
        else:
            yield path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "daemon.json").write_text("{}")
    given: dict[str, Value] = {
        "config-file": str(tmp_path / "daemon.json"),
        "tls": True,
        "host": ("tcp://x:1",),
    }
    return load(given, {})


def test_every_field_has_a_rule(settings: Settings) -> None:
    """Who adds a setting says how it is reloaded; without a word it would wait for a restart."""
    without = [path for path in leaves(settings) if rule_of(path).how is How.DAEMON]
    assert [path for path in without if not rule_of(path).note] == []


def test_every_rule_and_every_row_is_about_a_field(settings: Settings) -> None:
    """A field that is renamed takes its rule along."""
    known = set(leaves(settings))
    sections = {path.rpartition(".")[0] for path in known} | {"registry.proxies", "api.tls"}
    assert RULES.keys() <= known | sections
    assert {field for of_flag in FIELDS.values() for field in of_flag} <= known | sections


def test_every_option_that_works_decides_something() -> None:
    """So that a change of it is noticed; those without effect are few and named."""
    in_file = {flag for flag, option in OPTIONS.items() if option.key and not option.refused}
    assert in_file - FIELDS.keys() == WITHOUT_EFFECT
    assert FIELDS.keys() <= OPTIONS.keys()


def test_every_field_is_decided_by_an_option(settings: Settings) -> None:
    """People read the names of options, not of fields."""
    decided = {field for of_flag in FIELDS.values() for field in of_flag}
    assert [path for path in leaves(settings) if path not in decided] == []


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("log.level", ("log-level",)),
        ("containers.runtimes", ("runtimes",)),
        ("registry.insecure_hosts", ("insecure-registries",)),
        ("containers.cdi_directories", ("cdi-spec-dirs", "features")),
        ("config_file", ("--config-file",)),
        ("api.tls", ("tls",)),
        ("api.tls.verify", ("tlsverify",)),
    ],
)
def test_names_are_those_of_the_file(field: str, names: tuple[str, ...]) -> None:
    """All options that decide a field; a flag where the file has none."""
    assert names_of(field) == names
