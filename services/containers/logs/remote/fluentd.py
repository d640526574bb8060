"""The fluentd driver: the forward protocol in MessagePack, with acknowledgements where asked for.

The lines that wait go as one Forward message: tag, pairs of time and record, options.

Source: Fluentd, Forward Protocol Specification v1; moby, daemon/logger/fluentd.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from services.containers.logs.attributes import selected_attributes
from services.containers.logs.flags import parse_flag
from services.containers.logs.info import LogInfo
from services.containers.logs.remote.driver import DeliveryFailed, Progress, Session
from services.containers.logs.remote.endpoints import (
    Endpoint,
    host_of,
    parse_port,
    path_of,
    split_host_port,
)
from services.containers.logs.remote.lines import Line
from services.containers.logs.remote.links import SEND_BUDGET_S, StreamLink, delivery
from services.containers.logs.sizes import size_bytes
from services.containers.logs.tag import DEFAULT_TAG, render_tag
from services.system.tls import client_context

KEYS: Final = frozenset(
    {"fluentd-address", "fluentd-async", "fluentd-async-connect",
     "fluentd-async-reconnect-interval", "fluentd-buffer-limit", "fluentd-max-retries",
     "fluentd-request-ack", "fluentd-retry-wait", "fluentd-sub-second-precision",
     "fluentd-write-timeout"}
)  # fmt: skip
UNKNOWN_KEY: Final = "unknown log opt '{}' for fluentd log driver"
ACK_BUDGET_S: Final = 30.0
_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 24224
_DEFAULT_BUFFER: Final = "1m"
_EVENT_TIME: Final = 0  # the extension type of a time with nanoseconds
_ACK_LIMIT_BYTES: Final = 64 * 1024
_DURATION: Final = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+|[+-]?0")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FluentdOptions:
    """`buffer_bytes` may wait while the server is slow or away."""

    endpoint: Endpoint
    buffer_bytes: int
    retry_s: float
    session_s: float
    send_budget_s: float
    request_ack: bool
    sub_second: bool


def parse_fluentd(config: Mapping[str, str]) -> FluentdOptions:
    """The driver's options. Lines always go asynchronously, so that those for it say nothing new.

    Raises:
        ValueError: in dockerd's words.
    """
    endpoint = _endpoint(config.get("fluentd-address", ""))
    buffer_bytes = size_bytes(config.get("fluentd-buffer-limit") or _DEFAULT_BUFFER, base=1024)
    retry_s = _duration_s(config.get("fluentd-retry-wait") or "1s")
    retries = config.get("fluentd-max-retries", "")
    if retries and not (retries.isascii() and retries.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{retries}": invalid syntax')
    if config.get("fluentd-async") and config.get("fluentd-async-connect"):
        raise ValueError(
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect"
        )
    for key in ("fluentd-async", "fluentd-async-connect"):
        parse_flag(config.get(key) or "false")
    return FluentdOptions(
        endpoint=endpoint,
        buffer_bytes=buffer_bytes,
        retry_s=max(0.1, retry_s),
        session_s=_interval_s(config.get("fluentd-async-reconnect-interval", "")),
        send_budget_s=_write_timeout_s(config.get("fluentd-write-timeout", "")),
        sub_second=parse_flag(config.get("fluentd-sub-second-precision") or "false"),
        request_ack=parse_flag(config.get("fluentd-request-ack") or "false"),
    )


def _endpoint(address: str) -> Endpoint:
    if not address:
        return Endpoint(scheme="tcp", host=_DEFAULT_HOST, port=_DEFAULT_PORT)
    try:
        return _parse_endpoint(address)
    except ValueError as error:
        raise ValueError(f"invalid fluentd-address {address}: {error}") from error


def _parse_endpoint(address: str) -> Endpoint:
    url = address if "://" in address else f"tcp://{address}"
    scheme, path = url.partition("://")[0], path_of(url)
    if scheme == "unix":
        if not path.strip("/"):
            raise ValueError("path is empty")
        return Endpoint(scheme="unix", path=path)
    if scheme not in ("tcp", "tls"):
        raise ValueError(f"unsupported scheme: '{scheme}'")
    if path:
        raise ValueError("should not contain a path element")
    host, port = split_host_port(host_of(url) if "://" in address else address)
    number = parse_port(port) if port else _DEFAULT_PORT
    return Endpoint(scheme=scheme, host=host or _DEFAULT_HOST, port=number)


def _duration_s(text: str) -> float:
    """Source: Go, time.ParseDuration."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    total = sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
    return -total if text.startswith("-") else total


def _interval_s(text: str) -> float:
    if not text:
        return math.inf
    try:
        interval_s = _duration_s(text)
    except ValueError as error:
        raise ValueError(f"invalid value for fluentd-async-reconnect-interval: {error}") from error
    if interval_s and not 0.1 <= interval_s <= 10.0:
        raise ValueError(
            f'invalid value for fluentd-async-reconnect-interval: value ("{text}") must be between '
            "100ms and 10s"
        )
    return interval_s or math.inf


def _write_timeout_s(text: str) -> float:
    if not text:
        return SEND_BUDGET_S
    try:
        timeout_s = _duration_s(text)
    except ValueError as error:
        raise ValueError(f"invalid value for fluentd-write-timeout: {error}") from error
    if timeout_s < 0:
        raise ValueError(
            f'invalid value for fluentd-write-timeout: value ("{text}") must be a positive number'
        )
    return timeout_s or SEND_BUDGET_S


class ForwardFormat:
    """Spells messages. Pure."""

    def __init__(self, info: LogInfo, *, sub_second: bool) -> None:
        self._tag = render_tag(info.config.get("tag") or DEFAULT_TAG, info)
        self._base = {"container_id": info.container_id, "container_name": info.name}
        self._extra = selected_attributes(info)
        self._sub_second = sub_second
        self._encoder = msgspec.msgpack.Encoder()

    def message(self, lines: Sequence[Line], chunk: str = "") -> bytes:
        """All of `lines` in one message; with a `chunk` the server is to acknowledge it."""
        entries = [(self._time(line.time_ns), self._record(line)) for line in lines]
        options: dict[str, object] = {"size": len(entries)}
        if chunk:
            options["chunk"] = chunk
        return self._encoder.encode((self._tag, entries, options))

    def _time(self, time_ns: int) -> int | msgspec.msgpack.Ext:
        seconds, rest_ns = divmod(time_ns, 10**9)
        if not self._sub_second:
            return seconds
        data = (seconds & 0xFFFFFFFF).to_bytes(4, "big") + rest_ns.to_bytes(4, "big")
        return msgspec.msgpack.Ext(_EVENT_TIME, data)

    def _record(self, line: Line) -> dict[str, str]:
        record = {
            **self._base,
            "source": line.stream.label,
            "log": line.text.decode(errors="replace"),
            **self._extra,
        }
        if line.partial is not None:
            record |= {
                "partial_message": "true",
                "partial_id": line.partial.id,
                "partial_ordinal": str(line.partial.ordinal),
                "partial_last": "true" if line.partial.last else "false",
            }
        return record


class FluentdDriver:
    """A `Driver`."""

    def __init__(self, info: LogInfo) -> None:
        self._options = parse_fluentd(info.config)
        self._format = ForwardFormat(info, sub_second=self._options.sub_second)
        self.retry_s = self._options.retry_s
        self.session_s = self._options.session_s

    @property
    def address(self) -> str:
        """See `Driver`."""
        return str(self._options.endpoint)

    async def connect(self) -> Session:
        """See `Driver`."""
        endpoint = self._options.endpoint
        tls = client_context() if endpoint.scheme == "tls" else None
        return _Session(await StreamLink.open(endpoint, tls), self._format, self._options)


class _Session:
    def __init__(self, link: StreamLink, format: ForwardFormat, options: FluentdOptions) -> None:
        self._link, self._format, self._options = link, format, options
        self._received = b""

    async def send(self, lines: Sequence[Line], progress: Progress) -> None:
        options = self._options
        chunk = base64.b64encode(os.urandom(16)).decode() if options.request_ack else ""
        told = _nobody if chunk else progress  # that it arrived is less than an acknowledgement
        with delivery(f"sending to {options.endpoint}", options.send_budget_s):
            await self._link.send(self._format.message(lines, chunk), len(lines), told)
        if chunk:
            with delivery(f"waiting for {options.endpoint}", ACK_BUDGET_S):
                await self._wait_acknowledged(chunk)
            progress(len(lines))

    async def flush(self, progress: Progress) -> None:
        told = _nobody if self._options.request_ack else progress
        with delivery(f"sending to {self._options.endpoint}", self._options.send_budget_s):
            await self._link.flush(told)

    async def _wait_acknowledged(self, chunk: str) -> None:
        while True:
            data = await self._link.receive(4096)
            if not data:
                raise DeliveryFailed(f"{self._options.endpoint} closed before it acknowledged")
            self._received += data
            if len(self._received) > _ACK_LIMIT_BYTES:
                raise DeliveryFailed(f"{self._options.endpoint} answers too much")
            try:
                answer = msgspec.msgpack.decode(self._received, type=dict[str, object])
            except msgspec.ValidationError as error:
                raise DeliveryFailed(f"{self._options.endpoint} answers nonsense") from error
            except msgspec.DecodeError:
                continue  # not all of it is here
            self._received = b""
            if answer.get("ack") != chunk:
                raise DeliveryFailed(f"{self._options.endpoint} acknowledged something else")
            return

    async def aclose(self) -> None:
        await self._link.aclose()


def _nobody(count: int) -> None:
    """A `Progress` that tells nobody."""
