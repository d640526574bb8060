"""What `--help` prints."""

from __future__ import annotations

import click

from .option import Kind, Option
from .options import OPTIONS


def help_text(program: str) -> str:
    """All flags, with what each is for and its default."""
    command = click.Command(
        program,
        params=[_parameter(option) for option in OPTIONS.values()],
        help="A container engine that speaks the Docker Engine API.",
        add_help_option=False,
    )
    return command.get_help(click.Context(command, info_name=program, max_content_width=100))


def _parameter(option: Option) -> click.Option:
    names = [option.flag.replace("-", "_"), f"--{option.flag}"]  # the first is an identifier
    if option.short:
        names.append(f"-{option.short}")
    return click.Option(
        names, multiple=option.kind.is_repeatable, metavar=option.kind.word, help=_help(option)
    )


def _help(option: Option) -> str:
    if option.refused:
        return f"{option.help} (refused: {option.refused})"
    if option.default in ("", False, None, ()) or option.kind is Kind.HOSTS:
        return option.help
    shown = str(option.default).lower() if option.kind is Kind.BOOL else option.default
    return f"{option.help} (default {shown})"
