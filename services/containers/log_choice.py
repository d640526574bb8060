"""What a container's definition says of its log."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.containers.logs import (
    LogInfo,
    check_log_config,
    parse_file_options,
    read_attributes,
)
from services.containers.logs.encode import rfc3339_nano
from services.containers.logs.options import JSON_FILE, LOCAL, NONE
from services.containers.logs.remote.options import REMOTE_DRIVERS, make_driver
from services.containers.model import Definition

if TYPE_CHECKING:
    from services.containers.logs.remote.driver import Driver

DAEMON_NAME: Final = "docker"
"""What tags know the engine by, as under dockerd."""


def check_log(definition: Definition) -> None:
    """Refuse a log that could not be written.

    Raises:
        InvalidParameter: in dockerd's words.
        NotSupported: a driver that dockerd has and we do not.
    """
    driver, options = definition.log_driver, definition.log_options
    check_log_config(driver, options)
    if driver != NONE:
        parse_file_options(driver, options)
    if driver == JSON_FILE or driver in REMOTE_DRIVERS:
        read_attributes(log_info(definition, ""))


def log_path(directory: Path, definition: Definition) -> Path:
    """The newest file of the log of a container whose folder is `directory`."""
    if definition.log_driver == LOCAL:
        return directory / "local-logs" / "container.log"
    if definition.log_driver in REMOTE_DRIVERS:
        return directory / "container-cached.log"
    return directory / f"{definition.id}-json.log"


def remote_driver(definition: Definition) -> Driver:
    """Who sends the container's log, for a driver that sends it elsewhere.

    Raises:
        ValueError: in dockerd's words: not (any more) as its options want it.
    """
    return make_driver(definition.log_driver, log_info(definition, ""))


def log_info(definition: Definition, path: str) -> LogInfo:
    """What attributes and tags are made from."""
    config = definition.config
    return LogInfo(
        container_id=definition.id,
        name=f"/{definition.name}",
        image_name=config.image,
        image_id=definition.image_id,
        entrypoint=definition.path,
        arguments=definition.args,
        created=rfc3339_nano(definition.created_at_ns),
        env=config.env or [],
        labels=config.labels or {},
        log_path=path,
        daemon_name=DAEMON_NAME,
        hostname=socket.gethostname(),
        config=definition.log_options,
    )
