"""What templates in a task's spec, and in its secrets and configs, are expanded with.

Source: swarmkit, template/context.go and expand.go; Docker documentation, "docker service create",
"Create services using templates".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from services.cluster.agent.template import Fields, Function, TemplateError, render
from services.cluster.model.objects import NodeDescription, Task
from services.cluster.model.specs import Driver
from services.cluster.model.task_spec import ContainerSpec
from services.containers.config import Mount
from services.errors import InvalidParameter

GOLANG: Final = "golang"
"""The only templating driver there is."""

Getter = Callable[[str], str]
"""The text of a secret or config that the task has under a file's name. ValueError: it has none."""


def template_data(task: Task, node: NodeDescription) -> Fields:
    """The dot of a template. A task without a slot has its node's id for one."""
    platform = {"Architecture": node.platform.architecture, "OS": node.platform.os}
    return Fields(
        "template.Context",
        {
            "Service": Fields(
                "struct { ID string; Name string; Labels map[string]string }",
                {"ID": task.service_id, "Name": task.service_name, "Labels": task.service_labels},
            ),
            "Node": Fields(
                "struct { ID string; Hostname string; Platform template.Platform }",
                {
                    "ID": task.node_id,
                    "Hostname": node.hostname,
                    "Platform": Fields("template.Platform", platform),
                },
            ),
            "Task": Fields(
                "struct { ID string; Name string; Slot string }",
                {"ID": task.id, "Name": task.name, "Slot": str(task.slot or task.node_id)},
            ),
        },
    )


def expand_spec(task: Task, node: NodeDescription) -> ContainerSpec:
    """The task's container spec, with the templates in env, mounts and hostname expanded.

    Raises:
        InvalidParameter: a template is none, or asks for what is not there.
    """
    spec = task.spec.container_spec
    assert spec is not None
    data = template_data(task, node)
    return msgspec.structs.replace(
        spec,
        env=[_expand_env(entry, data) for entry in spec.env],
        mounts=[_expand_mount(mount, data) for mount in spec.mounts],
        hostname=_expand(spec.hostname, data, "hostname"),
    )


def expand_payload(
    payload: bytes,
    templating: Driver | None,
    task: Task,
    node: NodeDescription,
    *,
    secret: Getter,
    config: Getter,
) -> bytes:
    """A secret's or config's content; with `templating`, it is a template that may use others.

    Raises:
        InvalidParameter: as `expand_spec`, or for another kind of templating. Nothing of the
            content is in the text.
    """
    if templating is None:
        return payload
    if templating.name != GOLANG:
        raise InvalidParameter("unrecognized template type")
    spec = task.spec.container_spec
    names = _environment(spec.env if spec is not None else [])
    functions: Mapping[str, Function] = {
        "secret": secret,
        "config": config,
        "env": lambda name: names.get(name, ""),
    }
    try:
        text = payload.decode()
        return render(text, template_data(task, node), functions).encode()
    except (TemplateError, UnicodeDecodeError) as error:
        # Words of a template may be part of a secret, so only their place is told.
        place = (
            str(error).split(": ", 1)[0] if isinstance(error, UnicodeDecodeError) else _place(error)
        )
        raise InvalidParameter(f"expanding a template failed: {place}") from None


def _place(error: TemplateError) -> str:
    return "template: " + str(error).removeprefix("template: ").split(": ", 1)[0]


def _environment(env: list[str]) -> dict[str, str]:
    """As templates see it: the first of a name, before it is expanded itself."""
    return {name: value for name, mark, value in (e.partition("=") for e in reversed(env)) if mark}


def _expand(text: str, data: Fields, what: str) -> str:
    try:
        return render(text, data)
    except TemplateError as error:
        raise InvalidParameter(f"expanding {what} failed: {error}") from error


def _expand_env(entry: str, data: Fields) -> str:
    name, mark, value = entry.partition("=")
    return f"{name}={_expand(value, data, f'env {name}')}" if mark else entry


def _expand_mount(mount: Mount, data: Fields) -> Mount:
    options = mount.volume_options
    if options is not None:
        driver = options.driver_config
        if driver is not None:
            driver = msgspec.structs.replace(
                driver,
                options={
                    key: _expand(value, data, "volume driver config")
                    for key, value in driver.options.items()
                },
            )
        options = msgspec.structs.replace(
            options,
            labels={
                key: _expand(value, data, "volume labels") for key, value in options.labels.items()
            },
            driver_config=driver,
        )
    return msgspec.structs.replace(
        mount,
        source=_expand(mount.source, data, "mount source"),
        target=_expand(mount.target, data, "mount target"),
        volume_options=options,
    )
