"""services.dockerfile.words: quotes, escapes, variables and their modifiers."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dockerfile import (
    ExpansionError,
    Quoting,
    expand,
    expand_raw,
    expand_words,
    split_words,
)

VARIABLES = {"A": "1", "EMPTY": "", "FOO": "foobarbaz", "P": "/usr/lib/x.so.1", "W": " b  c "}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("plain", "plain"),
        ("$A", "1"),
        ("${A}x$A", "1x1"),
        ("$UNSET.", "."),
        ("${X:-d}${X-d}", "dd"),
        ("[${EMPTY:-d}${EMPTY-d}]", "[d]"),
        ("[${EMPTY:+s}${EMPTY+s}${X+s}]", "[s]"),
        ("${A:+y}", "y"),
        ("${X:-a${A}b}", "a1b"),
        ("${X:-'q r'}", "q r"),
        ("${X:-}", ""),
        ("${FOO#f*o}", "obarbaz"),
        ("${FOO##*ba}", "z"),
        ("${FOO%ba*}", "foobar"),
        ("${FOO%%ba*}", "foo"),
        ("${FOO#nope}${FOO%nope}", "foobarbazfoobarbaz"),
        ("${FOO/ba/X}", "fooXrbaz"),
        ("${FOO//ba?/X}", "fooXX"),
        ("${FOO//o}", "fbarbaz"),
        ("${FOO/b*z/}", "foo"),
        ("${P##*/}", "x.so.1"),
        ("${P%%.*}", "/usr/lib/x"),
        (r"\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A b"', "1 b"),
        (r'"\$A \" \x \\"', '$A " \\x \\'),
        (r"a\ b", "a b"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("trailing\\", "trailing\\"),
        ("$1$10", ""),
    ],
)
def test_expansion(word: str, value: str) -> None:
    """As the reference of Dockerfiles and POSIX have it."""
    assert expand(word, VARIABLES) == value


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("${A", "missing '}'"),
        ("${", "missing '}'"),
        ("${}", "bad substitution"),
        ("${X:?gone}", "X: gone"),
        ("${A^^}", r"unsupported modifier \(\^\)"),
        ('"abc', "looking for matching double-quote"),
        ("'abc", "looking for matching single-quote"),
        ("${X:-" * 60 + "}" * 60, "nested too deep"),
    ],
)
def test_what_cannot_be_expanded(word: str, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(ExpansionError, match=reason):
        expand(word, VARIABLES)


def test_words() -> None:
    """Quotes hold together; white space of variables divides."""
    assert expand_words("a \"b c\" 'd e' f\\ g", {}) == ["a", "b c", "d e", "f g"]
    assert expand_words("x$W y", VARIABLES) == ["x", "b", "c", "y"]
    assert expand_words('"x$W"', VARIABLES) == ["x b  c "]
    assert expand_words("$UNSET ''", VARIABLES) == [""]
    assert expand_words("", {}) == []


def test_raw_expansion_leaves_quotes() -> None:
    """As here-documents need it."""
    assert expand_raw("'$A' \"$FOO\" \\$A", VARIABLES) == "'$A' \"foobarbaz\" \\$A"


def test_split_words_keeps_dollars_and_open_quotes() -> None:
    """For words that only the shell will understand."""
    assert split_words('a \'$b c\' <<E"O"F "open', "\\", Quoting.KEPT) == [
        *("a", "'$b c'", '<<E"O"F', '"open'),
    ]


def test_another_escape_character() -> None:
    """A backslash is then a character like any other."""
    assert expand("C:\\dir`$A", VARIABLES, escape="`") == "C:\\dir$A"


WORDS = st.text(alphabet="ab$AFO{}:-+#%/*?'\"\\ ", max_size=24)


@given(WORDS)
def test_nothing_but_expansion_errors(word: str) -> None:
    """Whatever is written, it is a value or an error for the client."""
    for call in (expand, expand_words, expand_raw):
        with suppress(ExpansionError):
            call(word, VARIABLES)


@given(st.text(alphabet="abc*?x", max_size=6), st.sampled_from(["#", "##", "%", "%%"]))
def test_patterns_are_the_shells(pattern: str, operator: str) -> None:
    """Trimming is what a POSIX shell does."""
    value = "abcabxcba"
    script = f'v={value}; printf %s "${{v{operator}{pattern}}}"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert expand(f"${{V{operator}{pattern}}}", {"V": value}) == shell.stdout


def test_patterns_with_many_stars_end() -> None:
    """No pattern takes for ever; a value that would is refused."""
    started = time.monotonic()
    variables = {"V": "a" * 20_000, "LONG": "a" * 100_000}
    assert expand("${V##" + "*a" * 12 + "*b}", variables) == variables["V"]
    assert time.monotonic() - started < 60  # it would be years
    with pytest.raises(ExpansionError, match="at most"):
        expand("${LONG#*a}", variables)
