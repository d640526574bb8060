"""What a template says of its data. Bounded in steps and in what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.cluster.agent.template.errors import TemplateError
from services.cluster.agent.template.functions import FUNCTIONS, Function, go_text, is_true
from services.cluster.agent.template.read import read_template
from services.cluster.agent.template.tree import (
    Action,
    Branch,
    Literal,
    Node,
    Operand,
    Path,
    Pipeline,
    Text,
    Word,
)

STEPS_LIMIT: Final = 100_000
TEXT_LIMIT_CHARS: Final = 4 * 1024 * 1024  # several times what a secret or config may hold


@dataclass(frozen=True, slots=True)
class Fields:
    """A value with fields of fixed names, as Go's structs. `type_name` is for error texts."""

    type_name: str
    values: Mapping[str, object]


def render(template: str, data: Fields, functions: Mapping[str, Function] | None = None) -> str:
    """What `template` says of `data`. `functions` come beside Go's own; they may raise ValueError.

    Raises:
        TemplateError: it is none, or asks for what is not there.
    """
    if "{{" not in template:
        return template
    run = _Run(data, {**FUNCTIONS, **(functions or {})})
    run.write(read_template(template), data)
    return "".join(run.parts)


class _Run:
    """One rendering. `parts` is what was written so far."""

    def __init__(self, data: Fields, functions: Mapping[str, Function]) -> None:
        self.parts: list[str] = []
        self._functions = functions
        self._scopes: list[dict[str, object]] = [{"$": data}]
        self._steps = 0
        self._written = 0

    def write(self, nodes: Sequence[Node], dot: object) -> None:
        """Write what the nodes say."""
        for node in nodes:
            match node:
                case Text(text):
                    self._put(text, 1)
                case Action(pipeline):
                    value = self._assigned(pipeline, dot)
                    if not pipeline.variables:
                        self._put(go_text(value), pipeline.line)
                case Branch():
                    self._scopes.append({})
                    self._branch(node, dot)
                    self._scopes.pop()

    def _put(self, text: str, line: int) -> None:
        self._step(line)
        self._written += len(text)
        if self._written > TEXT_LIMIT_CHARS:
            raise TemplateError("the result is too long", line)
        self.parts.append(text)

    def _step(self, line: int) -> None:
        self._steps += 1
        if self._steps > STEPS_LIMIT:
            raise TemplateError("too many steps", line)

    def _branch(self, branch: Branch, dot: object) -> None:
        if branch.kind == "range":
            self._range(branch, dot)
            return
        value = self._assigned(branch.pipeline, dot)
        inside = value if branch.kind == "with" and is_true(value) else dot
        self.write(branch.body if is_true(value) else branch.otherwise, inside)

    def _range(self, branch: Branch, dot: object) -> None:
        pipeline = branch.pipeline
        value = self._value(pipeline, dot)
        is_empty = True
        for key, element in _elements(value, pipeline.line):
            is_empty = False
            names = dict(zip(pipeline.variables[::-1], (element, key), strict=False))
            self._scopes.append(names)
            self.write(branch.body, element)
            self._scopes.pop()
        if is_empty:
            self.write(branch.otherwise, dot)

    def _assigned(self, pipeline: Pipeline, dot: object) -> object:
        value = self._value(pipeline, dot)
        for name in pipeline.variables[:1]:
            scope = self._scopes[-1] if pipeline.is_new else self._scope_of(name, pipeline.line)
            scope[name] = value
        return value

    def _scope_of(self, name: str, line: int) -> dict[str, object]:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope
        raise TemplateError(f'undefined variable "{name}"', line)

    def _value(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for number, command in enumerate(pipeline.commands):
            self._step(pipeline.line)
            value = self._command(command, [value] if number else [], dot, pipeline.line)
        return value

    def _command(
        self, command: tuple[Operand, ...], piped: list[object], dot: object, line: int
    ) -> object:
        first, *operands = command
        if not isinstance(first, Word):
            if operands or piped:
                raise TemplateError("can't give argument to non-function", line)
            return self._operand(first, dot, line)
        if first.name in ("and", "or"):
            return self._first_that(first.name, operands, piped, dot, line)
        function = self._functions.get(first.name)
        if function is None:
            raise TemplateError(f'function "{first.name}" not defined', line)
        arguments = [self._operand(operand, dot, line) for operand in operands] + piped
        try:
            return function(*arguments)
        except TemplateError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(
                f'executing "expansion" at <{first.name}>: error calling {first.name}: {error}',
                line,
            ) from error

    def _first_that(
        self, word: str, operands: list[Operand], piped: list[object], dot: object, line: int
    ) -> object:
        """`and`: the first empty one, `or`: the first that is not; the rest is not looked at."""
        value: object = None
        for operand in operands:
            value = self._operand(operand, dot, line)
            if is_true(value) is (word == "or"):
                return value
        if not operands and not piped:
            raise TemplateError(f"wrong number of args for {word}: want at least 1 got 0", line)
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: object, line: int) -> object:
        match operand:
            case Literal(literal):
                return literal
            case Word(name):
                return self._command((operand,), [], dot, line) if name else None
            case Path(".", fields):
                value = dot
            case Path(str() as base, fields):
                value = self._scope_of(base, line)[base]
            case Path(Pipeline() as inside, fields):
                value = self._value(inside, dot)
        for field in fields:
            value = _field(value, field, operand, line)
        return value


def _field(value: object, name: str, path: Path, line: int) -> object:
    if isinstance(value, Fields) and name in value.values:
        return value.values[name]
    if isinstance(value, Mapping) and name in value:
        return value[name]
    if isinstance(value, Mapping):
        problem = f'map has no entry for key "{name}"'
    else:
        kind = value.type_name if isinstance(value, Fields) else type(value).__name__
        problem = f"can't evaluate field {name} in type {kind}"
    base = path.base if isinstance(path.base, str) and path.base != "." else ""
    shown = ".".join((base, *path.fields))
    raise TemplateError(f'executing "expansion" at <{shown}>: {problem}', line)


def _elements(value: object, line: int) -> Iterator[tuple[object, object]]:
    if isinstance(value, Mapping):
        return iter(sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return iter(enumerate(value))
    if value is None:
        return iter(())
    raise TemplateError(f"range can't iterate over {go_text(value)}", line)
