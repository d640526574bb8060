"""The language of Dockerfiles: lines, words, variables. Knows nothing of images or containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .errors import DockerfileError as DockerfileError
    from .errors import ExpansionError as ExpansionError
    from .lines import Heredoc as Heredoc
    from .lines import Line as Line
    from .lines import Source as Source
    from .lines import line_from_text as line_from_text
    from .lines import read_lines as read_lines
    from .words import Quoting as Quoting
    from .words import expand as expand
    from .words import expand_raw as expand_raw
    from .words import expand_words as expand_words
    from .words import split_words as split_words

__getattr__ = lazily.exports(
    __name__,
    {
        "errors": "DockerfileError ExpansionError",
        "lines": "Heredoc Line Source line_from_text read_lines",
        "words": "Quoting expand expand_raw expand_words split_words",
    },
)
