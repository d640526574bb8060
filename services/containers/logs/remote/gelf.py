"""The gelf driver: Graylog's format, in chunked and compressed packets or over TCP.

Source: GELF 1.1; moby, daemon/logger/gelf; go-gelf (chunks of 1420 bytes, gzip at its quickest).
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from services.containers.logs.attributes import selected_attributes
from services.containers.logs.info import LogInfo
from services.containers.logs.remote.driver import Session
from services.containers.logs.remote.endpoints import (
    Endpoint,
    host_of,
    is_transport_url,
    parse_port,
    split_host_port,
)
from services.containers.logs.remote.lines import Line
from services.containers.logs.remote.links import PacketLink, StreamLink
from services.containers.logs.remote.sessions import PacketSession, StreamSession
from services.containers.logs.tag import DEFAULT_TAG, render_tag
from services.containers.stdio.streams import Stream

KEYS: Final = frozenset(
    {"gelf-address", "gelf-compression-level", "gelf-compression-type", "gelf-tcp-max-reconnect",
     "gelf-tcp-reconnect-delay"}
)  # fmt: skip
UNKNOWN_KEY: Final = 'unknown log opt "{}" for gelf log driver'
_LEVEL: Final = MappingProxyType({Stream.STDOUT: 6, Stream.STDERR: 3})
_COMPRESSIONS: Final = ("gzip", "zlib", "none")
_CHUNK_BYTES: Final = 1420
_CHUNK_MAGIC: Final = b"\x1e\x0f"
_CHUNK_HEAD_BYTES: Final = 12
_CHUNKS_LIMIT: Final = 128
_DEFAULT_LEVEL: Final = 1
_DEFAULT_DELAY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GelfOptions:
    """`level` is zlib's; -1 is its default."""

    endpoint: Endpoint
    compression: str = "gzip"
    level: int = _DEFAULT_LEVEL
    retry_s: float = _DEFAULT_DELAY_S


def parse_gelf(config: Mapping[str, str]) -> GelfOptions:
    """The driver's options.

    Raises:
        ValueError: in dockerd's words.
    """
    endpoint = _endpoint(config.get("gelf-address", ""))
    compression, level = "gzip", _DEFAULT_LEVEL
    if "gelf-compression-type" in config:
        compression = config["gelf-compression-type"]
        _require_udp(endpoint)
        if compression not in _COMPRESSIONS:
            raise _unknown_value("gelf-compression-type", compression)
    if "gelf-compression-level" in config:
        _require_udp(endpoint)
        text = config["gelf-compression-level"]
        if text not in {str(number) for number in range(-1, 10)}:
            raise _unknown_value("gelf-compression-level", text)
        level = int(text)
    for key in ("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"):
        if key in config:
            if endpoint.scheme != "tcp":
                raise ValueError(f'"{key}" is only valid for TCP')
            if not (config[key].isascii() and config[key].isdigit()):
                raise ValueError(f'"{key}" must be a positive integer')
    delay_s = float(config.get("gelf-tcp-reconnect-delay") or _DEFAULT_DELAY_S)
    return GelfOptions(
        endpoint=endpoint, compression=compression, level=level, retry_s=max(0.1, delay_s)
    )


def _endpoint(address: str) -> Endpoint:
    if not address:
        raise ValueError("gelf-address is a required parameter")
    if not is_transport_url(address):
        raise ValueError(f"gelf-address should be in form proto://address, got {address}")
    scheme = address.partition("://")[0]
    if scheme not in ("tcp", "udp"):
        raise ValueError("gelf: endpoint needs to be TCP or UDP")
    written = host_of(address)
    try:
        host, port = split_host_port(written)
        number = parse_port(port or "")
    except ValueError as error:
        raise ValueError("gelf: please provide gelf-address as proto://host:port") from error
    return Endpoint(scheme=scheme, host=host or "localhost", port=number)


def _require_udp(endpoint: Endpoint) -> None:
    if endpoint.scheme != "udp":
        raise ValueError("compression is only supported on UDP")


def _unknown_value(key: str, value: str) -> ValueError:
    return ValueError(f'unknown value "{value}" for log opt "{key}" for gelf log driver')


class GelfFormat:
    """Spells messages. Pure."""

    def __init__(self, info: LogInfo) -> None:
        extra = {
            "_container_id": info.container_id,
            "_container_name": info.name.removeprefix("/"),
            "_image_id": info.image_id,
            "_image_name": info.image_name,
            "_command": " ".join([info.entrypoint, *info.arguments]),
            "_tag": render_tag(info.config.get("tag") or DEFAULT_TAG, info),
            "_created": info.created,
        }
        for key, value in selected_attributes(info).items():
            extra[key if key.startswith("_") else f"_{key}"] = value
        self._extra = extra
        self._host = info.hostname
        self._encoder = msgspec.json.Encoder()

    def message(self, line: Line, *, bare: bool = False) -> bytes:
        """One message, as JSON; `bare`: without what is said of the container."""
        return self._encoder.encode(
            {
                "version": "1.1",
                "host": self._host,
                "short_message": line.text.decode(errors="replace"),
                "timestamp": line.time_ns // 10**6 / 1000,
                "level": _LEVEL[line.stream],
                **({} if bare else self._extra),
            }
        )


def chunks_of(message: bytes, message_id: bytes) -> list[bytes]:
    """The packets of a message; none if it is longer than the protocol has chunks for."""
    if len(message) <= _CHUNK_BYTES:
        return [message]
    room = _CHUNK_BYTES - _CHUNK_HEAD_BYTES
    count = math.ceil(len(message) / room)
    if count > _CHUNKS_LIMIT:
        return []
    return [
        _CHUNK_MAGIC
        + message_id
        + bytes((number, count))
        + message[number * room : (number + 1) * room]
        for number in range(count)
    ]


def compress(message: bytes, kind: str, level: int) -> bytes:
    """A message for UDP."""
    match kind:
        case "gzip":
            return gzip.compress(message, 6 if level < 0 else level)
        case "zlib":
            return zlib.compress(message, level)
    return message


class GelfDriver:
    """A `Driver`."""

    session_s = math.inf

    def __init__(self, info: LogInfo) -> None:
        self._options = parse_gelf(info.config)
        self._format = GelfFormat(info)
        self.retry_s = self._options.retry_s

    @property
    def address(self) -> str:
        """See `Driver`."""
        return str(self._options.endpoint)

    async def connect(self) -> Session:
        """See `Driver`."""
        endpoint = self._options.endpoint
        if endpoint.is_datagram:
            return PacketSession(await PacketLink.open(endpoint), self._packets, self.address)
        return StreamSession(await StreamLink.open(endpoint), self._ended, self.address)

    def _packets(self, line: Line) -> list[bytes]:
        """With labels that are too long for any number of chunks the text still goes."""
        options = self._options
        for bare in (False, True):
            message = self._format.message(line, bare=bare)
            packets = chunks_of(
                compress(message, options.compression, options.level), os.urandom(8)
            )
            if packets:
                break
        return packets

    def _ended(self, line: Line) -> bytes:
        return self._format.message(line) + b"\0"
