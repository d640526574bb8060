"""Labels, variables and tags are chosen and refused as dockerd does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.containers.logs import LogInfo, read_attributes
from services.errors import InvalidParameter

INFO = LogInfo(
    container_id="139e083ec339506f9381e6c45df556f648ffda97d43b3f1087dfb31de6e3c202",
    name="/web",
    image_name="busybox",
    image_id="sha256:1fa3ba76077cd50fb96f19d80325bc842b537961686fe6768c1dafb451b3756b",
    entrypoint="sh",
    arguments=["-c", "true"],
    created="2026-01-02T03:04:05Z",
    env=["A=1", "B=2=3", "PATH=/bin", "bare"],
    labels={"a": "1", "b.c": "2", "b.d": "3"},
    log_path="/x-json.log",
    daemon_name="docker",
    hostname="host",
    config={},
)


def attributes(**config: str) -> dict[str, str]:
    options = {key.replace("_", "-"): value for key, value in config.items()}
    return read_attributes(replace(INFO, config=options))


def test_nothing_unless_asked() -> None:
    """Neither labels nor variables nor a tag."""
    assert attributes() == {}


def test_names_and_patterns() -> None:
    """Lists of names, absent ones passed over; patterns match anywhere in a name."""
    assert attributes(labels="a,zz", labels_regex="^b[.]", env="B", env_regex="ATH") == {
        "a": "1",
        "b.c": "2",
        "b.d": "3",
        "B": "2=3",
        "PATH": "/bin",
    }


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("[a", "missing closing ]: `[a`"),
        ("(", "missing closing ): `(`"),
        (")", "unexpected ): `)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
    ],
)
def test_patterns_are_gos(pattern: str, told: str) -> None:
    """In dockerd's words."""
    with pytest.raises(InvalidParameter) as caught:
        attributes(env_regex=pattern)
    prefix = "failed to initialize logging driver: error parsing regexp:"
    assert str(caught.value) == f"{prefix} {told}"


def test_a_malicious_pattern_takes_no_time() -> None:
    """A backtracking matcher would not come back from this in a lifetime."""
    info = replace(INFO, labels={"a" * 5000: "x"}, config={"labels-regex": "^(a+)+$b"})
    assert read_attributes(info) == {}


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "139e083ec339"),
        ("{{.FullID}}", INFO.container_id),
        ("{{.Name}}/{{ .ImageName }}/{{.DaemonName}}", "web/busybox/docker"),
        ("{{.ImageID}}", "sha256:1fa3b"),
        ("{{.ImageFullID}}", INFO.image_id),
        ("{{.Command}}", "sh -c true"),
        ("{{.ContainerName}}", "/web"),
        ("{{.ContainerArgs}}", "[-c true]"),
        ("{{.ContainerLabels}}", "map[a:1 b.c:2 b.d:3]"),
        ('{{index .ContainerLabels "b.c"}}', "2"),
        ('x{{index .ContainerLabels "zz"}}', "x"),
        ('{{join .ContainerArgs ","}}', "-c,true"),
        ("{{.Name | upper}} {{truncate .ID 4}}", "WEB 139e"),
        ('{{json .ContainerArgs}}{{"x"}}{{`y`}}', '["-c","true"]xy'),
        ("a {{- .Name -}} b", "awebb"),
        ("{{/* nothing */}}x", "x"),
    ],
)
def test_tags(template: str, tag: str) -> None:
    """What dockerd 20.10 made of the same templates."""
    assert attributes(tag=template) == {"tag": tag}


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            "{{.Foo}}",
            'template: log-tag:1:2: executing "log-tag" at <.Foo>: '
            "can't evaluate field Foo in type *logger.Info",
        ),
        ("{{.Name", "template: log-tag:1: unclosed action"),
        ("{{foo .Name}}", 'template: log-tag:1: function "foo" not defined'),
        ("{{if .Name}}x{{end}}", 'template: log-tag:1: function "if" not defined'),
        ("{{$x}}", 'template: log-tag:1: "$x" is not supported'),
        ("{{pad .Name 99999999 1}}", "error calling pad"),
        ("{{upper}}", "error calling upper"),
        ("{{}}", "template: log-tag:1: missing value for command"),
    ],
)
def test_tags_that_are_none(template: str, told: str) -> None:
    """A sentence, dockerd's where it has one, and never a failure of ours."""
    with pytest.raises(InvalidParameter) as caught:
        attributes(tag=template)
    assert told in str(caught.value)


def test_attributes_are_bounded() -> None:
    """They are written with each line."""
    info = replace(INFO, labels={"big": "x" * 300_000}, config={"labels": "big"})
    with pytest.raises(InvalidParameter, match="more than 262144 bytes"):
        read_attributes(info)
