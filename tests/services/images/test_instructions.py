"""Dockerfile instructions that change an image's configuration."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.images import HealthcheckConfig, RunConfig
from services.images.instructions import apply_instructions

BASE = RunConfig(env=["A=1"], working_dir="/w", labels={"k": "v"})


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ('CMD ["a","b c"]', "cmd", ["a", "b c"]),
        ("CMD a b", "cmd", ["/bin/sh", "-c", "a b"]),
        ('cmd ["a", 1]', "cmd", ["/bin/sh", "-c", '["a", 1]']),
        ("CMD", "cmd", None),
        ('ENTRYPOINT ["x"]', "entrypoint", ["x"]),
        ("ENTRYPOINT []", "entrypoint", None),
        ("ENV B=2", "env", ["A=1", "B=2"]),
        ("ENV A=2 C='x y' D=\"$A z\"", "env", ["A=2", "C=x y", "D=1 z"]),
        ("ENV B old form $A", "env", ["A=1", "B=old form 1"]),
        ("ENV B='$A'\\$A", "env", ["A=1", "B=$A$A"]),
        ("ENV B=${A:+yes} C=${N:-no} D=${A}x", "env", ["A=1", "B=yes", "C=no", "D=1x"]),
        ("ENV B=one \\\n  C=two", "env", ["A=1", "B=one", "C=two"]),
        ("# nothing\n\nENV B=2", "env", ["A=1", "B=2"]),
        ('LABEL x="y z" k=2', "labels", {"k": "2", "x": "y z"}),
        ("EXPOSE 80 90/udp", "exposed_ports", {"80/tcp": {}, "90/udp": {}}),
        ("EXPOSE 7-8", "exposed_ports", {"7/tcp": {}, "8/tcp": {}}),
        ("USER me:us", "user", "me:us"),
        ("WORKDIR x/../y", "working_dir", "/w/y"),
        ("WORKDIR /abs", "working_dir", "/abs"),
        ('VOLUME ["/a", "/b"]', "volumes", {"/a": {}, "/b": {}}),
        ("VOLUME /a /b", "volumes", {"/a": {}, "/b": {}}),
        ("ONBUILD RUN x", "on_build", ["RUN x"]),
        ("STOPSIGNAL SIGINT", "stop_signal", "SIGINT"),
        ("HEALTHCHECK NONE", "healthcheck", HealthcheckConfig(test=["NONE"])),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD a b",
            "healthcheck",
            HealthcheckConfig(test=["CMD-SHELL", "a b"], interval_ns=90 * 10**9, retries=3),
        ),
        (
            'HEALTHCHECK --timeout=1.5s CMD ["a"]',
            "healthcheck",
            HealthcheckConfig(test=["CMD", "a"], timeout_ns=1_500_000_000),
        ),
    ],
)
def test_changes(change: str, field: str, value: object) -> None:
    """Each as a Dockerfile has it; the rest stays."""
    changed = apply_instructions(BASE, [change])
    assert getattr(changed, field) == value
    others = set(RunConfig.__struct_fields__) - {field}
    assert all(getattr(changed, name) == getattr(BASE, name) for name in others)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "can't find = in"),
        ("ENV =1", "ENV names can not be blank"),
        ("ENV A='x", "looking for matching"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 80/abc", "invalid proto: abc"),
        ("EXPOSE 70000", "invalid containerPort"),
        ("USER", "USER requires exactly one argument"),
        ("HEALTHCHECK --x=1 CMD a", "unknown flag: x"),
        ("HEALTHCHECK --interval=1 CMD a", "invalid duration"),
        ("HEALTHCHECK --interval=1us CMD a", "less than 1ms"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK FOO", "Unknown type"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ('VOLUME [""]', "can not be an empty string"),
        ("STOPSIGNAL sig nal", "Invalid signal"),
    ],
)
def test_refusals(change: str, words: str) -> None:
    """In dockerd's words."""
    with pytest.raises(InvalidParameter, match=words):
        apply_instructions(BASE, [change])


NAMES = ["ENV", "LABEL", "CMD", "EXPOSE", "HEALTHCHECK", "VOLUME", "ONBUILD", "USER", "WORKDIR"]


@given(st.sampled_from(NAMES), st.text(alphabet="ab=\\\"'$ {}:-+[],/1\n#", max_size=30))
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    """Nothing fails in a way of its own."""
    with suppress(InvalidParameter):
        apply_instructions(BASE, [f"{name} {text}"])
