"""Where a plugin is: a socket of its name, or a file that tells its address.

Source: moby, pkg/plugins/discovery.go; docs.docker.com, "Docker Plugin API", discovery.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services import typed_json
from services.errors import EngineError, NotFound

SOCKETS: Final = Path("/run/docker/plugins")
SPECS: Final = (Path("/etc/docker/plugins"), Path("/usr/lib/docker/plugins"))
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SPEC_LIMIT_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginAddress:
    """`socket` is a path, or else `url` an origin (`http://host:port`); the files are TLS's."""

    socket: str = ""
    url: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    skip_verify: bool = False


class _TlsConfig(msgspec.Struct, rename="pascal"):
    insecure_skip_verify: bool = False
    ca_file: str = msgspec.field(default="", name="CAFile")
    cert_file: str = ""
    key_file: str = ""


class _Spec(msgspec.Struct, rename="pascal"):
    addr: str = ""
    tls_config: _TlsConfig | None = msgspec.field(default=None, name="TLSConfig")


class PluginDirectories:
    """Finds plugins by name. Blocks on the disk, briefly."""

    def __init__(self, sockets: Path = SOCKETS, specs: tuple[Path, ...] = SPECS) -> None:
        self._sockets = sockets
        self._specs = specs

    def find(self, name: str) -> PluginAddress:
        """Where the plugin is.

        Raises:
            NotFound: nowhere, in dockerd's words.
            EngineError: its file is none.
        """
        if _NAME.fullmatch(name):
            for path in _candidates(self._sockets, name, ".sock"):
                if path.is_socket():
                    return PluginAddress(socket=str(path))
            for folder in self._specs:
                for suffix, read in ((".spec", _read_spec), (".json", _read_json)):
                    for path in _candidates(folder, name, suffix):
                        if path.is_file():
                            return read(path)
        raise NotFound(f'plugin "{name}" not found')


def _candidates(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{name}{suffix}"
    yield folder / name / f"{name}{suffix}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SPEC_LIMIT_BYTES)
    except OSError as error:
        raise EngineError(f"open {path}: {error.strerror}") from error


def _read_spec(path: Path) -> PluginAddress:
    return _address(_read(path).decode(errors="replace").strip(), path)


def _read_json(path: Path) -> PluginAddress:
    try:
        spec = typed_json.decode(_read(path), _Spec)
    except msgspec.MsgspecError as error:
        raise EngineError(f"{path}: {error}") from error
    address = _address(spec.addr, path)
    tls = spec.tls_config
    if tls is None or address.socket:
        return address
    return PluginAddress(
        url=f"https://{address.url.partition('://')[2]}",
        ca_file=tls.ca_file,
        cert_file=tls.cert_file,
        key_file=tls.key_file,
        # Source: moby, readPluginJSONInfo: without a CA nothing could be verified.
        skip_verify=tls.insecure_skip_verify or not tls.ca_file,
    )


def _address(text: str, path: Path) -> PluginAddress:
    parts = urlsplit(text)
    match parts.scheme:
        case "unix" if parts.path:
            return PluginAddress(socket=parts.path)
        case "tcp" | "http" if parts.netloc:
            return PluginAddress(url=f"http://{parts.netloc}")
        case "https" if parts.netloc:
            return PluginAddress(url=f"https://{parts.netloc}", skip_verify=False)
    raise EngineError(f"{path}: Unknown protocol")


def check_plugins(names: Sequence[str], directories: PluginDirectories | None = None) -> None:
    """What dockerd looks at before it starts with these.

    Raises:
        ValueError: one is not there, in dockerd's words.
    """
    for name in names:
        try:
            (directories or PluginDirectories()).find(name)
        except EngineError as error:
            raise ValueError(f"failed to validate authorization plugin: {error}") from error
