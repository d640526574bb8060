"""services.build.plan: stages, what they stand on, which are needed, and what is refused."""

from __future__ import annotations

import pytest

from services.build.plan import Plan, Stage, make_plan
from services.dockerfile import DockerfileError, read_lines


def plan(text: str, **build_args: str | None) -> Plan:
    """The plan of a Dockerfile."""
    return make_plan(read_lines(text.encode()), build_args)


THREE = """
ARG BASE=busybox
FROM ${BASE}:1 AS Build
RUN make
FROM --platform=linux/amd64 scratch AS unused
FROM build as test
FROM scratch
COPY --from=build /a /a
COPY --from=0 /b /b
COPY --from=alpine:3 /c /c
COPY d /d
"""


def test_stages() -> None:
    """Names are in lower case; a base is an image or an earlier stage; arguments are filled in."""
    found = plan(THREE)
    assert [(s.base, s.base_stage, s.name, s.platform) for s in found.stages] == [
        ("busybox:1", None, "build", ""),
        ("scratch", None, "unused", "linux/amd64"),
        ("build", 0, "test", ""),
        ("scratch", None, "", ""),
    ]
    assert plan(THREE, BASE="debian").stages[0].base == "debian:1"
    assert [step.keyword for step in found.stages[0].steps] == ["RUN"]


def test_sources_of_copies() -> None:
    """A stage by name or number, another image, the context."""
    found = plan(THREE)
    last = found.stages[-1]
    sources = [found.source_of(last, step) for step in last.steps]
    assert [s.index if isinstance(s, Stage) else s for s in sources] == [0, 0, "alpine:3", None]


def test_only_what_is_needed_is_built() -> None:
    """The target with what it stands on and copies from."""
    found = plan(THREE)
    assert [s.index for s in found.needed(found.target(""))] == [0, 3]
    assert [s.index for s in found.needed(found.target("TEST"))] == [0, 2]
    assert [s.index for s in found.needed(found.target("1"))] == [1]
    with pytest.raises(DockerfileError, match="failed to reach build target nope"):
        found.target("nope")


def test_a_name_means_the_last_stage_of_that_name_before() -> None:
    """Also when a later one has it again, and when it is that of the stage itself."""
    found = plan("FROM a AS x\nFROM x AS x\nFROM b\nCOPY --from=x /f /f\nFROM c AS x")
    assert [s.base_stage for s in found.stages] == [None, 0, None, None]
    source = found.source_of(found.stages[2], found.stages[2].steps[0])
    assert isinstance(source, Stage)
    assert source.index == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RUN x", "on line 1: no build stage in current context"),
        ("ARG A", "file with no build stages"),
        ("FROM x\nFOO y", "on line 2: unknown instruction: FOO"),
        ("FROM", "on line 1: FROM requires either one or three arguments"),
        ("FROM x y", "on line 1: FROM requires either one or three arguments"),
        ("FROM x AS 1a", "invalid name for build stage"),
        ("FROM $NONE", r"base name \(\$NONE\) should not be blank"),
        ("FROM x\nRUN", "on line 2: RUN requires at least one argument"),
        ("FROM x\nUSER", "on line 2: USER requires exactly one argument"),
        ("FROM x\nCOPY --form=y a b", "on line 2: unknown flag: form"),
        ("FROM x\nCOPY --from=y --from=z a b", "on line 2: duplicate flag specified: from"),
        ("FROM x\nCOPY f", "on line 2: COPY requires at least two arguments, but only one"),
        ('FROM x\nADD ["f"]', "on line 2: ADD requires at least two arguments, but only one"),
        ("FROM x\nENV A", "on line 2: ENV must have two arguments"),
        ("FROM x\nLABEL a=1 b", 'on line 2: Syntax error - can\'t find = in "b"'),
        ("FROM x\nVOLUME []", "on line 2: VOLUME requires at least one argument"),
        ("FROM x\nSHELL sh", "on line 2: SHELL requires the arguments to be in JSON form"),
        ("FROM x\nSHELL []", "on line 2: SHELL requires at least one argument"),
        ("FROM x\nONBUILD FROM y", "on line 2: FROM isn't allowed as an ONBUILD trigger"),
        ("FROM x\nHEALTHCHECK FOO", "on line 2: Unknown type"),
        ("FROM x\nHEALTHCHECK --retries=x CMD y", "on line 2: --retries must be at least 0"),
        ("ARG 1A\nFROM x", "on line 1: invalid name for build-arg"),
        ('ARG A="x\nFROM y', "on line 1: .*looking for matching double-quote"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    """The line is named."""
    with pytest.raises(DockerfileError, match=reason):
        plan(text)


def test_a_later_stage_cannot_be_copied_from() -> None:
    """By its number; by its name it would be another image."""
    found = plan("FROM a\nCOPY --from=1 /x /x\nFROM b")
    with pytest.raises(DockerfileError, match=r"on line 2: .*invalid stage index 1"):
        found.needed(found.target("0"))
