"""`run`: what templates say, and what of Go's language is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.agent.template import Fields, TemplateError, render

DATA = Fields(
    "template.Context",
    {
        "Service": Fields("struct", {"Name": "web", "Labels": {"b": "2", "a": "1"}}),
        "Node": Fields("struct", {"Hostname": "n1"}),
        "List": ["x", "y"],
        "Empty": "",
    },
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Service.Name}}-{{ .Node.Hostname }}", "web-n1"),
        ('{{index .Service.Labels "a"}}', "1"),
        ('{{index .Service.Labels "none"}}', ""),
        ("{{.Service.Labels.b}}", "2"),
        ("{{.Service.Labels}}", "map[a:1 b:2]"),
        ("{{.List}} {{index .List 1}} {{len .List}}", "[x y] y 2"),
        ('{{join "," "a" "b" "c"}}', "a,b,c"),
        ('{{"a}}b"}}', "a}}b"),
        ("{{`raw \\n`}}", "raw \\n"),
        ("a  {{- .Service.Name -}}  b", "awebb"),
        ("a {{/* nothing */}} b", "a  b"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("{{if .Empty}}yes{{else}}no{{end}}", "no"),
        ('{{if eq .Service.Name "db"}}1{{else if eq .Service.Name "web"}}2{{else}}3{{end}}', "2"),
        ('{{if and .Service.Name (ne .Service.Name "db")}}yes{{end}}', "yes"),
        ('{{or .Empty "default"}}', "default"),
        ('{{.Empty | printf "%s-%d%%" "x"}}', "x-%!d()%"),
        ('{{printf "%s:%05d %q" .Service.Name 42 "q"}}', 'web:00042 "q"'),
        ("{{range .List}}[{{.}}]{{end}}", "[x][y]"),
        ("{{range $i, $e := .List}}{{$i}}={{$e}};{{end}}", "0=x;1=y;"),
        ("{{range $k, $v := .Service.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .Empty | len | print | slice}}{{end}}", None),
        ("{{with .Service}}{{.Name}}{{end}}", "web"),
        ("{{with .Empty}}x{{else}}{{.Service.Name}}{{end}}", "web"),
        ("{{$x := .Service.Name}}{{if true}}{{$x = `other`}}{{end}}{{$x}}", "other"),
        ("{{(index .List 0)}}{{not true}}{{lt 1 2}}", "xfalsetrue"),
        ("{{$.Node.Hostname}}", "n1"),
        ("{{1}} {{-1}} {{1.5}}", "1 -1 1.5"),
    ],
)
def test_template(template: str, text: str | None) -> None:
    """Each as Go's text/template has it."""
    if text is None:
        with pytest.raises(TemplateError):
            render(template, DATA)
    else:
        assert render(template, DATA) == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Service.Nme}}", "can't evaluate field Nme in type struct"),
        ("{{.Service.Labels.none}}", 'map has no entry for key "none"'),
        ("\n{{nothing}}", 'template: expansion:2: function "nothing" not defined'),
        ("{{", "unclosed action"),
        ('{{"abc}}', "unterminated quoted string"),
        ("{{if .Empty}}x", "unexpected EOF"),
        ("x{{end}}", "unexpected {{end}}"),
        ("{{/* x }}", "unclosed comment"),
        ('{{define "x"}}{{end}}', "define is not supported"),
        ("{{$none}}", 'undefined variable "$none"'),
        ("{{.Service.Name 1}}", "can't give argument to non-function"),
        ("{{}}", "missing value for command"),
        ("{{(1}}", "unclosed left paren"),
        ("{{index .List 7}}", "error calling index: index out of range: 7"),
        ("{{printf `%9999s` `x`}}", "width is too large"),
        ("{{range 5}}{{end}}", "range can't iterate over 5"),
        ("(" * 3 + "{{" + "(" * 60 + "1" + ")" * 60 + "}}", "too deep"),
    ],
)
def test_refusal(template: str, problem: str) -> None:
    """What is wrong is said, with its line."""
    with pytest.raises(TemplateError) as caught:
        render(template, DATA)
    assert problem in str(caught.value)


def test_work_is_bounded() -> None:
    """A template of a few bytes cannot keep the engine busy."""
    data = Fields("x", {"L": ["x" * 1000] * 1000})
    inner = "{{range $.L}}" * 4 + "{{.}}" + "{{end}}" * 4
    with pytest.raises(TemplateError, match="too"):
        render(inner, data)


@given(st.text(alphabet='{}-./*"`$|()=: aif end.Service.Name', max_size=60))
def test_any_text_is_rendered_or_refused(template: str) -> None:
    """Nothing else comes out, whatever goes in."""
    with suppress(TemplateError):
        assert isinstance(render(template, DATA), str)
