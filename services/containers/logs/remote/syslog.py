"""The syslog driver: RFC 3164 and RFC 5424 over packets, streams and TLS.

Fields of the head are cut and cleaned so that they are what RFC 5424 allows; dockerd sends a tag
as it is. The process id is the engine's, as dockerd sends its own.

Source: RFC 5424, 6; RFC 6587, 3.4.2 (framing by a newline); RFC 5425, 4.3 (by a length); moby,
daemon/logger/syslog.
"""

from __future__ import annotations

import math
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from services.containers.logs.info import LogInfo
from services.containers.logs.remote.driver import DeliveryFailed, Session
from services.containers.logs.remote.endpoints import (
    Endpoint,
    host_of,
    is_transport_url,
    parse_port,
    path_of,
    require_socket_file,
    split_host_port,
)
from services.containers.logs.remote.lines import Line
from services.containers.logs.remote.links import PacketLink, StreamLink
from services.containers.logs.remote.sessions import PacketSession, StreamSession
from services.containers.logs.tag import DEFAULT_TAG, render_tag
from services.containers.stdio.streams import Stream
from services.system.tls import client_context

KEYS: Final = frozenset(
    {"syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert",
     "syslog-tls-key", "syslog-tls-skip-verify"}
)  # fmt: skip
UNKNOWN_KEY: Final = "unknown log opt '{}' for syslog log driver"
_FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
)  # fmt: skip
_FIRST_LOCAL: Final = 16
_DEFAULT_FACILITY: Final = 3
_FORMATS: Final = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SEVERITY: Final = MappingProxyType({Stream.STDOUT: 6, Stream.STDERR: 3})
_LOCAL_SOCKETS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
_DEFAULT_PORT: Final = 514
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_NIL: Final = "-"
# RFC 5424, 6: the longest that each field may be.
_HOSTNAME_CHARS: Final = 255
_APP_NAME_CHARS: Final = 48
_MSGID_CHARS: Final = 32
_PACKET_BYTES: Final = 65507  # UDP's payload at most


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogOptions:
    """`endpoint` None: the machine's own syslog, by the socket that is there."""

    endpoint: Endpoint | None
    facility: int
    format: str
    ca_cert: str = ""
    cert: str = ""
    key: str = ""
    skip_verify: bool = False


def parse_syslog(config: Mapping[str, str]) -> SyslogOptions:
    """The driver's options.

    Raises:
        ValueError: in dockerd's words.
    """
    options = SyslogOptions(
        endpoint=_endpoint(config.get("syslog-address", "")),
        facility=_facility(config.get("syslog-facility", "")),
        format=config.get("syslog-format", ""),
        ca_cert=config.get("syslog-tls-ca-cert", ""),
        cert=config.get("syslog-tls-cert", ""),
        key=config.get("syslog-tls-key", ""),
        skip_verify="syslog-tls-skip-verify" in config,  # its value means nothing, as in dockerd
    )
    if options.format not in _FORMATS:
        raise ValueError("Invalid syslog format")
    return options


def _endpoint(address: str) -> Endpoint | None:
    if not address:
        return None
    if not is_transport_url(address):
        raise ValueError(f"syslog-address should be in form proto://address, got {address}")
    scheme = address.partition("://")[0]
    if scheme in ("unix", "unixgram"):
        path = path_of(address)
        require_socket_file(path)
        return Endpoint(scheme=scheme, path=path)
    host, port = split_host_port(host_of(address))
    number = _DEFAULT_PORT if port is None else parse_port(port)
    return Endpoint(scheme=scheme, host=host or "localhost", port=number)


def _facility(text: str) -> int:
    if not text:
        return _DEFAULT_FACILITY
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.startswith("local") and text[5:] in set("01234567"):
        return _FIRST_LOCAL + int(text[5:])
    if text.isascii() and text.isdigit() and int(text) <= _FIRST_LOCAL + 7:
        return int(text)
    raise ValueError("invalid syslog facility")


def printable(text: str, limit_chars: int) -> str:
    """A field of RFC 5424's head: visible ASCII without spaces, "-" for nothing."""
    cleaned = "".join(char if "!" <= char <= "~" else "_" for char in text)
    return cleaned[:limit_chars] or _NIL


class SyslogFormat:
    """Spells messages, and frames them for their transport."""

    def __init__(
        self, options: SyslogOptions, *, tag: str, hostname: str, pid: int | None = None
    ) -> None:
        self._options = options
        self._pid = os.getpid() if pid is None else pid
        self._tag = tag
        self._hostname = printable(hostname, _HOSTNAME_CHARS)
        is_new = options.format.startswith("rfc5424")
        secured = options.endpoint is not None and options.endpoint.scheme == "tcp+tls"
        self._counts_octets = is_new and secured
        app, msgid = printable(tag, _APP_NAME_CHARS), printable(tag, _MSGID_CHARS)
        self._behind_time = f" {self._hostname} {app} {self._pid} {msgid} - "
        # Lines that came together have one time: their head is the last one's.
        self._last: tuple[Stream | None, int, bytes] = (None, 0, b"")

    def message(self, line: Line) -> bytes:
        """One message, framed."""
        stream, time_ns, head = self._last
        if line.time_ns != time_ns or line.stream is not stream:
            priority = self._options.facility * 8 + _SEVERITY[line.stream]
            head = f"<{priority}>{self._head(line.time_ns)}".encode()
            self._last = (line.stream, line.time_ns, head)
        message = b"%b%b\n" % (head, line.text)
        return b"%d %b" % (len(message), message) if self._counts_octets else message

    def _head(self, time_ns: int) -> str:
        match self._options.format:
            case "rfc5424":
                stamp = datetime.fromtimestamp(time_ns // 10**9, UTC)
                return f"1 {stamp:%Y-%m-%dT%H:%M:%SZ}{self._behind_time}"
            case "rfc5424micro":
                return f"1 {_micro(time_ns)}{self._behind_time}"
            case "rfc3164":
                return f"{_stamp(time_ns)} {self._hostname} {self._tag}[{self._pid}]: "
        return f"{_stamp(time_ns)} {self._tag}[{self._pid}]: "


def _micro(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 10**9)
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
    micro = f"{rest_ns // 1000:06d}".rstrip("0")
    return f"{text}.{micro}Z" if micro else f"{text}Z"


def _stamp(time_ns: int) -> str:
    """RFC 3164's time: local, without a year."""
    local = time.localtime(time_ns // 10**9)
    return f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"


class SyslogDriver:
    """A `Driver`."""

    session_s = math.inf
    retry_s = 0.5

    def __init__(self, info: LogInfo) -> None:
        self._options = parse_syslog(info.config)
        tag = render_tag(info.config.get("tag") or DEFAULT_TAG, info)
        self._format = SyslogFormat(self._options, tag=tag, hostname=info.hostname)

    @property
    def address(self) -> str:
        """See `Driver`."""
        return str(self._options.endpoint or "the machine's own syslog")

    async def connect(self) -> Session:
        """See `Driver`."""
        endpoint = self._options.endpoint
        if endpoint is None:
            return await self._connect_local()
        if endpoint.is_datagram:
            return PacketSession(await PacketLink.open(endpoint), self._packet, self.address)
        tls = self._tls() if endpoint.scheme == "tcp+tls" else None
        return StreamSession(
            await StreamLink.open(endpoint, tls), self._format.message, self.address
        )

    async def _connect_local(self) -> Session:
        for path in _LOCAL_SOCKETS:
            if not os.path.exists(path):  # noqa: ASYNC240 (local, never a network's)
                continue
            try:
                link = await PacketLink.open(Endpoint(scheme="unixgram", path=path))
            except DeliveryFailed:
                stream = await StreamLink.open(Endpoint(scheme="unix", path=path))
                return StreamSession(stream, self._format.message, self.address)
            return PacketSession(link, self._packet, self.address)
        raise DeliveryFailed("Unix syslog delivery error")

    def _tls(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = client_context(options.ca_cert)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if options.skip_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if options.cert or options.key:
                context.load_cert_chain(options.cert, options.key or None)
        except (OSError, ssl.SSLError) as error:  # read at each connection: it may be mended
            raise DeliveryFailed(f"TLS files of syslog: {error}") from error
        return context

    def _packet(self, line: Line) -> tuple[bytes]:
        return (self._format.message(line)[:_PACKET_BYTES],)
