"""Volumes that are asked for, those that a container is made with, and what a prune deleted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from . import records
from .model import ANONYMOUS_LABEL, Volume, check_name, check_options, made_up_name


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRequest:
    """A volume to use, made if it is not there. `name` "" asks for an anonymous one."""

    name: str = ""
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """The volumes that a container is being made with, in the order of the requests."""

    volumes: list[Volume]
    made: list[Volume]

    def claim(self, connection: sqlite3.Connection) -> None:
        """To be called in the transaction that stores the container: its volumes stay."""
        for volume in self.made:
            records.put(connection, msgspec.structs.replace(volume, made_for=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedVolumes:
    """What a prune has deleted."""

    names: list[str]
    reclaimed_bytes: int


def new_volume(request: VolumeRequest, container_id: str = "") -> Volume:
    """Raises InvalidParameter for a name or options that no volume can have."""
    check_name(request.name)
    check_options(request.name, request.options)
    return Volume(
        name=request.name,
        created_at_ns=time.time_ns(),
        labels=dict(request.labels),
        options=dict(request.options),
        made_for=container_id,
    )


def named(request: VolumeRequest) -> VolumeRequest:
    """An anonymous volume gets its name and its label."""
    if request.name:
        return request
    labels = {**request.labels, ANONYMOUS_LABEL: ""}
    return VolumeRequest(
        name=made_up_name(), driver=request.driver, options=request.options, labels=labels
    )
