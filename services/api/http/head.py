"""The head of an HTTP/1.1 request: bytes in, a checked `RequestHead` out. No I/O.

llhttp (through httptools) reads the syntax in its strict mode; the rules that span several fields
(framing, Host, Expect) are here, where a test can walk them. Whatever two parsers could read in two
ways is refused, because that is how requests are smuggled.

Source: RFC 9112; status and texts as Go's net/http, which dockerd stands on, gives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

HEAD_LIMIT_BYTES: Final = 64 * 1024
"""Go takes a megabyte; no Docker client sends more than a few kilobytes."""

_HEADERS_LIMIT: Final = 256
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]@/]*\Z")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BARE_LINE_FEED = re.compile(rb"(?:^|[^\r])\n")
# llhttp takes more spaces, or no version.
_REQUEST_LINE = re.compile(rb"[A-Z\-]+ [^\s]+ HTTP/[0-9]\.[0-9]\r\n")
_H2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"


class ProtocolError(Exception):
    """The peer does not speak HTTP/1.1 as we read it; answer `status` and close."""

    def __init__(self, status: int, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.status = status
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class RequestHead:
    """One request's head. Names of headers are in lower case; values have no outer white space.

    Not frozen: one is made for each request, and frozen fields cost a third of the parsing.
    """

    method: str
    path: str  # percent-decoded
    raw_path: bytes
    query: bytes
    version: str  # "1.0" or "1.1"
    headers: list[tuple[bytes, bytes]]
    content_length: int = 0
    chunked: bool = False
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: bytes | None = None  # the Upgrade header, when Connection names it too


def bad_request(detail: str = "") -> ProtocolError:
    """A 400 as Go words it: the detail stands behind the reason."""
    return ProtocolError(400, "Bad Request", detail)


def split_head(buffer: bytearray) -> bytes | None:
    """Take one head, its empty line included, off `buffer`; None if it is not all here.

    Raises:
        ProtocolError: 431 for a head past the limit, 400 for one that cannot become valid.
    """
    # RFC 9112 2.2: empty lines before a request line are skipped; old clients end a POST with one.
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n")
    if end < 0 or end + 4 > HEAD_LIMIT_BYTES:
        if len(buffer) > HEAD_LIMIT_BYTES:
            raise ProtocolError(431, "Request Header Fields Too Large")
        # Refused now: its sender takes it for complete and would wait for an answer in vain.
        if _BARE_LINE_FEED.search(buffer):
            raise bad_request()
        return None
    head = bytes(buffer[: end + 4])
    del buffer[: end + 4]
    return head


def is_h2_preface(head: bytes) -> bool:
    """Whether an HTTP/2 client with prior knowledge is speaking."""
    return head == _H2_PREFACE


class _Collector:
    """Callbacks of httptools."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))


def parse_head(data: bytes) -> RequestHead:
    """Parse one whole head, as `split_head` returns it.

    Raises:
        ProtocolError: with the status that Go's server would give.
    """
    if not _REQUEST_LINE.match(data):
        raise bad_request()
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # llhttp stops at an upgrade; by then the head has been read, all we ask of it
    except httptools.HttpParserError as error:
        raise bad_request() from error
    version: str = parser.get_http_version()
    if version not in {"1.1", "1.0"}:
        raise ProtocolError(505, "HTTP Version Not Supported", "unsupported protocol version")
    if len(collector.headers) > _HEADERS_LIMIT:
        raise ProtocolError(431, "Request Header Fields Too Large")
    path, query = _split_target(collector.url)
    head = RequestHead(
        method=parser.get_method().decode("ascii"),
        path=(unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace"),
        raw_path=path,
        query=query,
        version=version,
        headers=collector.headers,
        keep_alive=version == "1.1",
    )
    _apply_headers(head)
    return head


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of an origin-form or absolute-form target."""
    if not target.startswith(b"/"):
        scheme, found, rest = target.partition(b"://")
        if found and scheme.lower() in {b"http", b"https"}:
            _, slash, path = rest.partition(b"/")
            target = slash + path if slash else b"/"
        elif target != b"*":
            raise bad_request()
    path, _, query = target.partition(b"?")
    if _BAD_ESCAPE.search(path):
        raise bad_request()
    return path, query


def _apply_headers(head: RequestHead) -> None:
    """Derive framing, persistence and the rest from the fields that bear on them."""
    hosts = lengths = 0
    codings: list[bytes] = []
    options: list[bytes] = []
    upgrade = None
    for name, value in head.headers:
        if name == b"host":
            hosts += 1
            if not _HOST.match(value):
                raise bad_request("malformed Host header")
        elif name == b"content-length":
            lengths += 1
            head.content_length = _content_length(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"connection":
            options += [option.strip() for option in value.lower().split(b",")]
        elif name == b"upgrade":
            upgrade = value
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise ProtocolError(417, "Expectation Failed")
            head.expects_continue = head.version == "1.1"
    _check_hosts(head, hosts)
    if lengths > 1 or (lengths and codings):
        raise bad_request()
    if codings:
        _apply_coding(head, codings)
    if options:
        _apply_options(head, options, upgrade)


def _check_hosts(head: RequestHead, hosts: int) -> None:
    if hosts > 1:
        raise bad_request()
    if not hosts and head.version == "1.1":
        raise bad_request("missing required Host header")


def _apply_options(head: RequestHead, options: list[bytes], upgrade: bytes | None) -> None:
    """What Connection says."""
    # "close" wins over "keep-alive", in either version.
    head.keep_alive = b"close" not in options and (head.keep_alive or b"keep-alive" in options)
    if b"upgrade" in options:
        head.upgrade = upgrade


def _content_length(value: bytes) -> int:
    """Digits only: int() would also take signs, spaces and underscores."""
    if not value.isdigit() or len(value) > 19:
        raise bad_request()
    return int(value)


def _apply_coding(head: RequestHead, codings: list[bytes]) -> None:
    """`chunked`, alone and once, is the only transfer coding that is understood."""
    if head.version == "1.0":
        # RFC 9112 6.1: framing that an HTTP/1.0 hop may not have understood is faulty.
        raise bad_request()
    if codings != [b"chunked"]:
        raise ProtocolError(501, "Not Implemented", "Unsupported transfer encoding")
    head.chunked = True
