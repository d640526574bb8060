"""`files`: what a task's container gets to see, before anything is mounted."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from services.cluster.agent.errors import Lacking
from services.cluster.agent.files import TaskFile, task_files
from services.cluster.agent.holdings import Holdings
from services.cluster.dispatcher.values import Assignments
from services.cluster.model.objects import Config, Secret, Task
from services.cluster.model.specs import ConfigSpec, Driver, SecretSpec
from services.cluster.model.task_spec import ConfigReference, FileTarget, SecretReference
from services.errors import InvalidParameter
from tests.services.cluster.agent.support import AT, NODE, task

GOLANG = Driver(name="golang")


def held(secrets: dict[str, bytes], configs: dict[str, bytes], **spec: Any) -> Holdings:
    """A node that was told these; `spec` is of the configs."""
    holdings = Holdings()
    told = Assignments(
        is_complete=True,
        secrets=tuple(
            Secret(id=i, created_at=AT, updated_at=AT, spec=SecretSpec(data=_text(data)))
            for i, data in secrets.items()
        ),
        configs=tuple(
            Config(id=i, created_at=AT, updated_at=AT, spec=ConfigSpec(data=_text(data), **spec))
            for i, data in configs.items()
        ),
    )
    holdings.take(told)
    return holdings


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def using(target: FileTarget, config: FileTarget | None = None) -> Task:
    """A task with the secret x1 there, and the config y1."""
    configs = [ConfigReference(file=config, config_id="y1")] if config is not None else []
    secrets = [SecretReference(file=target, secret_id="x1")]
    return task(container={"secrets": secrets, "configs": configs})


def test_places() -> None:
    """A relative secret stands under /run/secrets, a relative config under /."""
    holdings = held({"x1": b"s"}, {"y1": b"c"})
    one = using(FileTarget(name="key", uid="7", gid="8", mode=0o400), FileTarget(name="app.conf"))
    secret, config = task_files(one, NODE, holdings)
    assert secret == TaskFile(place="/run/secrets/key", uid=7, gid=8, mode=0o400, data=b"s")
    assert (config.place, config.mode, config.data) == ("/app.conf", 0o444, b"c")
    assert task_files(using(FileTarget(name="/etc/key")), NODE, holdings)[0].place == "/etc/key"


def test_what_was_not_told_is_lacking() -> None:
    """It may come; so the task waits."""
    with pytest.raises(Lacking, match="secret reference x1 not found"):
        task_files(using(FileTarget(name="key")), NODE, held({}, {}))


@pytest.mark.parametrize(
    "target", [FileTarget(name="key", uid="root"), FileTarget(name="key", gid="-1")]
)
def test_owners_are_numbers(target: FileTarget) -> None:
    """There is no account file to ask."""
    with pytest.raises(InvalidParameter, match="owner of /run/secrets/key"):
        task_files(using(target), NODE, held({"x1": b""}, {}))


def test_a_failing_template_tells_nothing_of_what_is_secret() -> None:
    """Its words may be part of a secret; its line is not."""
    text = b"\n{{ sesame }}"
    holdings = held({"x1": b"open"}, {"y1": text}, templating=GOLANG)
    with pytest.raises(InvalidParameter) as caught:
        task_files(using(FileTarget(name="key"), FileTarget(name="c")), NODE, holdings)
    assert str(caught.value) == "expanding a template failed: template: expansion:2"
    other = held({"x1": b""}, {"y1": b""}, templating=Driver(name="jinja"))
    with pytest.raises(InvalidParameter, match="unrecognized template type"):
        task_files(using(FileTarget(name="key"), FileTarget(name="c")), NODE, other)


def test_templates_see_only_what_the_task_has() -> None:
    """A secret of the node that is another task's is not found."""
    text = b'{{ secret "other" }}'
    holdings = held({"x1": b"mine", "x2": b"theirs"}, {"y1": text}, templating=GOLANG)
    with pytest.raises(InvalidParameter, match="expanding a template failed"):
        task_files(using(FileTarget(name="key"), FileTarget(name="c")), NODE, holdings)


def test_data_is_never_printed() -> None:
    """Not in a log, not in a traceback's locals."""
    assert "sesame" not in repr(TaskFile(place="/a", uid=0, gid=0, mode=0, data=b"sesame"))
