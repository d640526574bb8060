"""The devices that the host's CDI files name. Looked up anew each time: drivers write the files.

Source: CDI, pkg/cdi/cache.go; moby, daemon/cdi.go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services import typed_json
from services.containers.cdi.gpus import gpu_names
from services.containers.cdi.names import CdiError
from services.containers.cdi.requests import DRIVER, no_driver
from services.containers.config import DeviceRequest
from services.errors import EngineError

if TYPE_CHECKING:
    from services.containers.cdi.edits import Json
    from services.containers.cdi.schema import Device, Spec

MAX_FILE_BYTES: Final = 16 << 20
MAX_FILES: Final = 1024
MAX_DEPTH: Final = 100
_SUFFIXES: Final = (".json", ".yaml")


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is: full names in order, and what is wrong with which files, for /info."""

    devices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """A device, where it comes from, and how much its folder counts."""

    device: Device
    spec: Spec
    path: str
    priority: int


@dataclass(slots=True)
class _Scan:
    devices: dict[str, _Known] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    problems: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Read:
    """A file's content, good as long as `stamp` is the file's."""

    stamp: tuple[int, int, int]
    spec: Spec | str  # str: why there is none


class CdiDevices:
    """The devices in these folders; of the same name in two the later folder's counts.

    Every method blocks, and may be called from several threads.
    """

    def __init__(self, directories: Callable[[], Sequence[str]]) -> None:
        """None switch CDI off. Asked at each use: a reload changes them."""
        self._directories = directories
        self._read: dict[str, _Read] = {}  # replaced as a whole by each scan

    @property
    def directories(self) -> tuple[str, ...]:
        """The folders, the least important first."""
        return tuple(self._directories())

    def list(self) -> Listing:
        """All devices. Blocks."""
        scan = self._scan()
        return Listing(
            devices=tuple(sorted(scan.devices)),
            warnings=tuple(
                f"CDI: Error associated with spec file {path}: {problem}"
                for path, problems in sorted(scan.problems.items())
                for problem in problems
            ),
        )

    def inject(self, spec: Json, requests: Sequence[DeviceRequest]) -> None:
        """Put the devices that CDI is asked for into an OCI spec. Blocks.

        Raises:
            EngineError: one is not there, or cannot be used; the text is dockerd's.
        """
        for request in requests:
            known = self._scan().devices
            names = request.device_ids
            if request.driver != DRIVER and (names := gpu_names(request, known)) is None:
                raise EngineError(str(no_driver(request)))
            if not names:
                continue
            try:
                _inject(spec, names, known)
            except CdiError as error:
                raise EngineError(f"CDI device injection failed: {error}") from error

    def _scan(self) -> _Scan:
        scan, read = _Scan(), {}
        for path, priority in self._files():
            found = read[path] = self._load(path)
            if isinstance(found.spec, str):
                text = f"failed to load CDI Spec {found.spec}"
                scan.problems.setdefault(path, []).append(text)
            else:
                _add(scan, found.spec, path, priority)
        for name in scan.conflicts:
            del scan.devices[name]
        self._read = read
        return scan

    def _files(self) -> Iterator[tuple[str, int]]:
        """The files of each folder by name, not those of folders in it."""
        left = MAX_FILES
        for priority, directory in enumerate(self.directories):
            try:
                names = sorted(os.listdir(directory))
            except OSError:  # usually there is none
                continue
            for name in names:
                path = Path(directory, name)
                if path.suffix in _SUFFIXES and not path.is_dir() and left:
                    left -= 1
                    yield str(path), priority

    def _load(self, path: str) -> _Read:
        try:
            info = os.stat(path)
            stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
            known = self._read.get(path)
            if known is not None and known.stamp == stamp:
                return known
            return _Read(stamp, _read_spec(path))
        except CdiError as error:
            return _Read(stamp, str(error))
        except OSError as error:
            return _Read((0, 0, 0), f'failed to read CDI Spec "{path}": {error.strerror}')


def _inject(spec: Json, names: Sequence[str], known: Mapping[str, _Known]) -> None:
    from services.containers.cdi.edits import apply_edits
    from services.containers.cdi.schema import joined

    missing = [name for name in names if name not in known]
    if missing:
        raise CdiError(f"unresolvable CDI devices {', '.join(missing)}")
    edits, seen = [], set()
    for name in names:
        found = known[name]
        if found.path not in seen:  # what a file says of all its devices is said once
            seen.add(found.path)
            edits.append(found.spec.container_edits)
        edits.append(found.device.container_edits)
    try:
        apply_edits(spec, joined(edits))
    except CdiError as error:
        raise CdiError(f"failed to inject devices: {error}") from error


def _add(scan: _Scan, spec: Spec, path: str, priority: int) -> None:
    for device in spec.devices or ():
        name = f"{spec.kind}={device.name}"
        new = _Known(device=device, spec=spec, path=path, priority=priority)
        old = scan.devices.get(name)
        if old is not None and old.priority == priority:
            scan.conflicts.add(name)
            text = f'conflicting device "{name}" (specs "{path}", "{old.path}")'
            for one in (path, old.path):
                scan.problems.setdefault(one, []).append(text)
            continue
        if old is not None:
            # A conflict among less important folders is settled by the more important one.
            scan.conflicts.discard(name)
        scan.devices[name] = new


def _read_spec(path: str) -> Spec:
    from services.containers.cdi.checks import check_spec
    from services.containers.cdi.schema import Spec

    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise CdiError(f'failed to read CDI Spec "{path}": larger than {MAX_FILE_BYTES} bytes')
    try:
        spec = typed_json.convert(_parsed(path, data), Spec)
    except (ValueError, RecursionError) as error:
        raise CdiError(f'failed to parse CDI Spec "{path}": {error}') from error
    try:
        check_spec(spec)
    except CdiError as error:
        raise CdiError(f"invalid CDI Spec: {error}") from error
    return spec


def _parsed(path: str, data: bytes) -> Any:
    """JSON, or YAML if it is called so."""
    if path.endswith(".json"):
        return msgspec.json.decode(data)
    # Imported when it is needed: hardly any host has such a file.
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(data, Loader=loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:  # libyaml's recursion would end the process
                    raise ValueError(f"nested deeper than {MAX_DEPTH}")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        return yaml.load(data, Loader=loader)  # noqa: S506 - both are safe ones
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
