"""services.dockerfile.lines: directives, comments, continuations, flags, here-documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dockerfile import DockerfileError, read_lines


def read(text: str) -> list[tuple[int, str, tuple[str, ...], str]]:
    """Every instruction: number, keyword, flags, arguments."""
    lines = read_lines(text.encode()).lines
    return [(line.number, line.keyword, line.flags, line.arguments) for line in lines]


def test_plain_lines() -> None:
    """Comments and empty lines count, and are not there; keywords are in capitals."""
    text = "\ufeff# note\n\nfrom busybox as x\r\n  RUN echo # no comment\n\t# comment\nCMD true"
    assert read(text) == [
        (3, "FROM", (), "busybox as x"),
        (4, "RUN", (), "echo # no comment"),
        (6, "CMD", (), "true"),
    ]


def test_continuations() -> None:
    """Comments and empty lines in between end nothing; an escaped mark continues nothing."""
    text = "RUN a \\\n  # note\n\n  b \\  \n c\nRUN d\\\\\nRUN e \\"
    assert read(text) == [
        (1, "RUN", (), "a   b  c"),
        (6, "RUN", (), "d\\\\"),
        (7, "RUN", (), "e"),
    ]


def test_bytes_that_are_no_text() -> None:
    """In an instruction as Go's JSON has them; in a here-document as they stand."""
    (line,) = read_lines(b"COPY <<x \xff\na\xfe\nx\n").lines
    assert line.arguments == "<<x \ufffd"
    assert line.heredocs[0].content.encode("utf-8", "surrogateescape") == b"a\xfe\n"
    with pytest.raises(DockerfileError, match="invalid ESCAPE '\ufffd'"):
        read_lines(b"# escape=\xff\nRUN a\n")


def test_directives() -> None:
    """Only at the very top, in any order and case; the escape character is then the other one."""
    source = read_lines(b"# Syntax=docker/dockerfile:1\n#escape = `\nRUN a `\n b\\\nRUN c")
    assert source.escape == "`"
    assert [line.arguments for line in source.lines] == ["a  b\\", "c"]
    assert read_lines(b"# note\n# escape=`\nRUN a").escape == "\\"
    assert read_lines(b"# unknown=x\n# escape=`\nRUN a").escape == "\\"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "dockerfile parse error: file with no instructions"),
        ("# only\n", "file with no instructions"),
        ("# escape=x\nRUN a", "on line 1: invalid ESCAPE 'x'. Must be ` or "),
        ("# escape=`\n# escape=`\nRUN a", "on line 2: only one escape parser directive"),
        ("FROM x\nRUN <<EOF\na\n", "on line 2: unterminated heredoc"),
        ('FROM x\nRUN --a="b c', "on line 2: unterminated quote in flag"),
    ],
)
def test_what_is_no_dockerfile(text: str, reason: str) -> None:
    """The line is named."""
    with pytest.raises(DockerfileError, match=reason):
        read(text)


def test_flags() -> None:
    """Words with two dashes before the arguments, quotes taken away; a bare `--` ends them."""
    assert read('RUN --mount=type=cache --net="a b"   echo --x') == [
        (1, "RUN", ("--mount=type=cache", "--net=a b"), "echo --x")
    ]
    assert read("RUN -- --x") == [(1, "RUN", (), "--x")]
    assert read("RUN -x") == [(1, "RUN", (), "-x")]


def test_heredocs() -> None:
    """Several on a line, with tabs stripped, with quoted names; what looks like an end is none."""
    one = 'COPY <<-"A" 3<<B /x/\n\tone\n\t A\n\tA\nB2\nB\n'
    two = "RUN cat <<E | sh -s <<'F G'\ne\nE\nf\nF G\n"
    copy, run = read_lines((one + two).encode()).lines
    first, second = copy.heredocs
    assert (first.name, first.content, first.expands) == ("A", "one\n A\n", False)
    assert (second.name, second.content, second.descriptor) == ("B", "B2\n", 3)
    assert [(h.name, h.content) for h in run.heredocs] == [("E", "e\n"), ("F G", "f\n")]
    assert run.number == 7


def test_what_is_no_heredoc() -> None:
    """Other instructions, JSON, a shift of the shell's, quotes around all of it."""
    text = 'CMD cat <<EOF\nRUN ["cat", "<<EOF"]\nRUN echo $((1 << 2)) "<<EOF" <<<x\n'
    lines = read_lines(f"{text}ONBUILD RUN <<E\nx\nE".encode()).lines
    assert [line.heredocs for line in lines[:3]] == [(), (), ()]
    assert lines[3].heredocs[0].content == "x\n"


@given(st.text(alphabet="RUNFrom \\\n\t#<-'\"E=`[]$", max_size=80))
def test_nothing_but_dockerfile_errors(text: str) -> None:
    """Whatever is written, there are lines, numbered upwards, or an error for the client."""
    try:
        lines = read_lines(text.encode()).lines
    except DockerfileError:
        return
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert all(line.keyword and line.keyword == line.keyword.upper() for line in lines)
