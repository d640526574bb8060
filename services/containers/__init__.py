"""Containers: their life cycle, and every operation on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.containers.container import Container as Container
    from services.containers.container import ExitWaiter as ExitWaiter
    from services.containers.containers import Attached as Attached
    from services.containers.containers import Containers as Containers
    from services.containers.create import Created as Created
    from services.containers.definitions import CreateRequest as CreateRequest
    from services.containers.execs.exec import Exec as Exec
    from services.containers.execs.exec import ExecConfig as ExecConfig
    from services.containers.health.rules import Health as Health
    from services.containers.model import ContainerId as ContainerId
    from services.containers.model import ExitStatus as ExitStatus
    from services.containers.model import State as State
    from services.containers.spec import MountPoint as MountPoint
    from services.containers.table import ContainerTable as ContainerTable
    from services.containers.top import list_processes as list_processes

__getattr__ = lazily.exports(
    __name__,
    {
        "container": "Container ExitWaiter",
        "containers": "Attached Containers",
        "create": "Created",
        "definitions": "CreateRequest",
        "execs.exec": "Exec ExecConfig",
        "health.rules": "Health",
        "model": "ContainerId ExitStatus State",
        "spec": "MountPoint",
        "table": "ContainerTable",
        "top": "list_processes",
    },
)
