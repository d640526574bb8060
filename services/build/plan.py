"""What a Dockerfile asks for: its stages, what each stands on, and which are needed. Pure.

Source: Docker documentation, "Dockerfile reference", FROM, ARG and multi-stage builds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from services.dockerfile import (
    DockerfileError,
    ExpansionError,
    Line,
    Source,
    expand,
    split_words,
)
from services.dockerfile.words import Quoting
from services.errors import InvalidParameter
from services.images.instructions import check_line, json_words

from .flags import flags_of, values_of
from .mount_options import mount_origin, parse_mount

SCRATCH: Final = "scratch"
INSTRUCTIONS: Final = frozenset(
    (
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
        "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    )
)  # fmt: skip
NETWORKS: Final = frozenset(("default", "none", "host"))
_NO_CONTEXT: Final = re.compile(r"\btype=(?:cache|tmpfs|secret|ssh)\b")
_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*")
_ARG_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
PREDEFINED_ARGS: Final = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (lower, lower.upper())
)
"""Build arguments that need no ARG, and neither show in the history nor count for the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM and what follows it. `base` is an image's reference, unless `base_stage` is given.

    `platform` "" is the build's.
    """

    index: int
    line: Line
    base: str
    name: str = ""
    base_stage: int | None = None
    platform: str = ""
    steps: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All stages, and the arguments that stand before the first of them."""

    stages: tuple[Stage, ...]
    escape: str
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, ref: str) -> Stage | None:
        """The stage that a name or a number means; of several of a name, the last."""
        for stage in reversed(self.stages):
            if stage.name and stage.name == ref.lower():
                return stage
        if ref.isascii() and ref.isdecimal() and int(ref) < len(self.stages):
            return self.stages[int(ref)]
        return None

    def target(self, ref: str) -> Stage:
        """The stage to build; "" is the last.

        Raises:
            DockerfileError: there is none of that name.
        """
        if not ref:
            return self.stages[-1]
        found = self.find(ref)
        if found is None:
            raise DockerfileError(f"failed to reach build target {ref} in Dockerfile")
        return found

    def needed(self, target: Stage) -> list[Stage]:
        """The stages that `target` stands on or copies from, and itself, in the file's order."""
        wanted: set[int] = set()
        pending = [target.index]
        while pending:
            index = pending.pop()
            if index not in wanted:
                wanted.add(index)
                pending += self.needs(self.stages[index])
        return [self.stages[index] for index in sorted(wanted)]

    def needs(self, stage: Stage) -> set[int]:
        """The earlier stages that one stands on or copies from, each by its number."""
        found = set() if stage.base_stage is None else {stage.base_stage}
        for step in stage.steps:
            for other in (self.source_of(stage, step), *self.mount_sources(stage, step)):
                if isinstance(other, Stage):
                    found.add(other.index)
        return found

    def needs_context(self, target: Stage) -> bool:
        """Whether anything that `target` needs takes files from the build's context.

        ONBUILD instructions of base images are not known yet; see `StageBuild.run`.
        """
        return any(
            (step.keyword in ("ADD", "COPY") and "from" not in flags_of(step))
            or (
                step.keyword == "RUN"
                and any(
                    not mount_origin(text) and not _NO_CONTEXT.search(text)
                    for text in values_of(step, "mount")
                )
            )
            for stage in self.needed(target)
            for step in stage.steps
        )

    def source_of(self, stage: Stage, step: Line) -> Stage | str | None:
        """Where a COPY copies from: a stage, an image's reference, or None for the context.

        Raises:
            DockerfileError: a stage that is not built before this one.
        """
        ref = flags_of(step).get("from", "") if step.keyword == "COPY" else ""
        return self.origin(stage, ref, step.number) if ref else None

    def mount_sources(self, stage: Stage, step: Line) -> list[Stage | str]:
        """What the mounts of a RUN are taken from, but for the context. Raises as `source_of`."""
        if step.keyword != "RUN":
            return []
        origins = [mount_origin(text) for text in values_of(step, "mount")]
        return [self.origin(stage, ref, step.number) for ref in origins if ref]

    def beside(self, named: Collection[str]) -> Plan:
        """The same where these names, in small letters, are contexts: no stage is found by them."""
        stages = tuple(
            replace(
                stage,
                name="" if stage.name in named else stage.name,
                base_stage=None if stage.base.lower() in named else stage.base_stage,
            )
            for stage in self.stages
        )
        return replace(self, stages=stages)

    def origin(self, stage: Stage, ref: str, number: int) -> Stage | str:
        """What a `from` of `stage` means: an earlier stage, or an image. Raises as `source_of`."""
        earlier = [
            one for one in self.stages[: stage.index] if one.name and one.name == ref.lower()
        ]
        if earlier:
            return earlier[-1]
        if ref.isascii() and ref.isdecimal():
            if int(ref) >= stage.index:
                raise DockerfileError(
                    f"invalid from flag value {ref}: invalid stage index {ref}", number
                )
            return self.stages[int(ref)]
        return ref


def make_plan(source: Source, build_args: Mapping[str, str | None]) -> Plan:
    """Read the stages. `build_args` are --build-arg's; None takes the variable away.

    Raises:
        DockerfileError: no Dockerfile, in dockerd's words; the line is named.
    """
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    steps: list[Line] = []
    for line in source.lines:
        _check(line, source.escape)
        if line.keyword == "FROM":
            _close(stages, steps)
            stages.append(_stage(line, stages, arguments, source.escape))
        elif stages:
            steps.append(line)
        elif line.keyword == "ARG":
            for name, default in arg_pairs(line, arguments, source.escape):
                value = build_args.get(name, default)
                if value is not None:
                    arguments[name] = value
        else:
            raise DockerfileError("no build stage in current context", line.number)
    if not stages:
        raise DockerfileError("file with no build stages")
    _close(stages, steps)
    return Plan(stages=tuple(stages), escape=source.escape, arguments=MappingProxyType(arguments))


def arg_pairs(
    line: Line, variables: Mapping[str, str], escape: str
) -> Iterator[tuple[str, str | None]]:
    """The names of an ARG, each with its default. Raises DockerfileError."""
    words = split_words(line.arguments, escape, Quoting.KEPT)
    if not words:
        raise DockerfileError("ARG requires at least one argument", line.number)
    for word in words:
        name, equals, value = word.partition("=")
        name = expanded(name, variables, escape, line.number)
        if not name:
            raise DockerfileError("ARG names can not be blank", line.number)
        if not _ARG_NAME.fullmatch(name):
            raise DockerfileError(f"invalid name for build-arg: {name!r}", line.number)
        yield name, expanded(value, variables, escape, line.number) if equals else None


def expanded(word: str, variables: Mapping[str, str], escape: str, number: int) -> str:
    """As `expand`; an error names the line."""
    try:
        return expand(word, variables, escape=escape)
    except ExpansionError as error:
        raise DockerfileError(f"failed to process {word!r}: {error}", number) from error


def _check(line: Line, escape: str) -> None:
    if line.keyword not in INSTRUCTIONS:
        raise DockerfileError(f"unknown instruction: {line.keyword}", line.number)
    if not line.arguments and line.keyword not in ("CMD", "ENTRYPOINT"):
        many = line.keyword in ("ADD", "ARG", "COPY", "ENV", "EXPOSE", "LABEL", "RUN", "VOLUME")
        wanted = "at least one argument" if many else "exactly one argument"
        if line.keyword == "FROM":
            wanted = "either one or three arguments"
        raise DockerfileError(f"{line.keyword} requires {wanted}", line.number)
    flags = flags_of(line)
    try:
        check_line(line, escape)
        if line.keyword == "RUN":
            _check_run(line, flags, escape)
    except DockerfileError:
        raise
    except InvalidParameter as error:
        raise DockerfileError(str(error), line.number) from error
    if line.keyword in ("ADD", "COPY"):
        words = json_words(line.arguments) or split_words(line.arguments, escape, Quoting.KEPT)
        if len(words) < 2:
            raise DockerfileError(
                f"{line.keyword} requires at least two arguments, but only one was provided. "
                "Destination could not be determined",
                line.number,
            )


def _check_run(line: Line, flags: Mapping[str, str], escape: str) -> None:
    """Raises InvalidParameter. A mount with variables is read when they are known."""
    network, security = flags.get("network", "default"), flags.get("security", "sandbox")
    if network not in NETWORKS:
        raise InvalidParameter(f'invalid network mode "{network}"')
    if security not in ("sandbox", "insecure"):
        raise InvalidParameter(f'security "{security}" is not valid')
    if security == "insecure":
        raise InvalidParameter(
            "security.insecure is not allowed: commands of a build run in the sandbox"
        )
    for text in values_of(line, "mount"):
        mount_origin(text)
        if "$" not in text:
            parse_mount(text, lambda value: expanded(value, {}, escape, line.number))


def _close(stages: list[Stage], steps: list[Line]) -> None:
    """The steps so far are the last stage's."""
    if stages:
        last = stages[-1]
        stages[-1] = Stage(
            index=last.index, line=last.line, base=last.base, name=last.name,
            base_stage=last.base_stage, platform=last.platform, steps=tuple(steps),
        )  # fmt: skip
        steps.clear()


def _stage(
    line: Line, earlier: Sequence[Stage], arguments: Mapping[str, str], escape: str
) -> Stage:
    words = line.arguments.split()
    name = ""
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or '
                "contain symbols",
                line.number,
            )
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments", line.number)
    base = expanded(words[0], arguments, escape, line.number)
    if not base:
        raise DockerfileError(f"base name ({words[0]}) should not be blank", line.number)
    same = [stage.index for stage in earlier if stage.name and stage.name == base.lower()]
    return Stage(
        index=len(earlier),
        line=line,
        base=base,
        name=name,
        base_stage=same[-1] if same else None,
        platform=expanded(flags_of(line).get("platform", ""), arguments, escape, line.number),
    )
