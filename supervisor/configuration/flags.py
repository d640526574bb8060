"""The command line, read as dockerd's flag library reads it: flags to the values of options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from services.api.listening.hosts import parse_host

from .option import Kind, Option, Value
from .options import OPTIONS
from .values import (
    parse_bool,
    parse_domain,
    parse_driver_option,
    parse_int,
    parse_ip,
    parse_label,
    parse_pair,
    parse_pool,
    parse_runtime,
    parse_size_bytes,
    parse_ulimit,
)

PROGRAM: Final = "wharfinger"
_BY_SHORT: Final = {option.short: option for option in OPTIONS.values() if option.short}


class UsageError(Exception):
    """The arguments cannot be read; the text is dockerd's."""


def parse_flags(argv: Sequence[str]) -> dict[str, Value]:
    """The flags that were given, by name, each with its value converted.

    Raises:
        UsageError: an unknown flag, a missing or malformed value, or an argument that is no flag.
    """
    given: dict[str, Value] = {}
    for argument in canonical_arguments(argv):
        flag, _, text = argument.removeprefix("--").partition("=")
        option = OPTIONS[flag]
        value = _converted(option, text)
        if option.kind.is_repeatable:
            value = (*cast("tuple[Any, ...]", given.get(flag, ())), value)
        given[flag] = value
    return {flag: given[flag] for flag in OPTIONS if flag in given}


def _converted(option: Option, text: str) -> Any:
    try:
        return _PARSERS.get(option.kind, str)(text)
    except ValueError as error:
        short = f"-{option.short}, " if option.short else ""
        message = f'invalid argument "{text}" for "{short}--{option.flag}" flag: {error}'
        raise UsageError(message) from error


def canonical_arguments(argv: Sequence[str]) -> list[str]:
    """Every flag as `--name=value`, read as Go reads them.

    Go has `--icc` and `--icc=false` but never `--icc false`, `-Dl debug`, `-l=debug`, and takes
    the next argument as a value even when that begins with a dash. `--` ends the flags.
    """
    canonical: list[str] = []
    plain: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            plain += rest
            break
        if argument.startswith("--"):
            canonical.append(_long(argument, rest))
        elif argument.startswith("-") and argument != "-":
            canonical += _shorts(argument, rest)
        else:
            plain.append(argument)
    if plain:
        raise UsageError(f'"{PROGRAM}" accepts no argument(s).')
    return canonical


def _long(argument: str, rest: list[str]) -> str:
    name, equals, value = argument.removeprefix("--").partition("=")
    if not name or name.startswith("-"):
        raise UsageError(f"bad flag syntax: {argument}")
    option = OPTIONS.get(name)
    if option is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        value = "true" if option.kind is Kind.BOOL else _next(rest, f"--{name}")
    return f"--{name}={value}"


def _shorts(argument: str, rest: list[str]) -> list[str]:
    """A cluster of short flags; the first that takes a value takes all that follows it."""
    canonical: list[str] = []
    letters = argument[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = _BY_SHORT.get(letter)
        if option is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in {argument}")
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif option.kind is Kind.BOOL:
            value = "true"
        elif letters:
            value, letters = letters, ""
        else:
            value = _next(rest, f"{letter!r} in {argument}")
        canonical.append(f"--{option.flag}={value}")
    return canonical


def _next(rest: list[str], flag: str) -> str:
    if not rest:
        raise UsageError(f"flag needs an argument: {flag}")
    return rest.pop(0)


def _parse_host(text: str) -> str:
    """Checked now, kept as text: what it means depends on TLS, which the file may decide."""
    parse_host(text)
    return text


_PARSERS: Final[Mapping[Kind, Callable[[str], Any]]] = {  # Any: as many types as kinds
    Kind.BOOL: parse_bool,
    Kind.INT: parse_int,
    Kind.BYTES: parse_size_bytes,
    Kind.IP: parse_ip,
    Kind.IPS: lambda text: str(parse_ip(text)),
    Kind.LABELS: parse_label,
    Kind.DOMAINS: parse_domain,
    Kind.MAP: parse_pair,
    Kind.ULIMITS: parse_ulimit,
    Kind.RUNTIMES: parse_runtime,
    Kind.POOLS: parse_pool,
    Kind.MAPMAP: parse_driver_option,
    Kind.HOSTS: _parse_host,
}
