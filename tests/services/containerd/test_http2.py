"""HTTP/2's frames and header blocks, against a library that others use."""

from __future__ import annotations

import hpack
import pytest
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from services.containerd._grpc import (
    GRPCError,
    ProtocolError,
    Status,
    frame_message,
    status_error,
    take_message,
)
from services.containerd._http2 import (
    FRAME_BYTES,
    Frame,
    FrameType,
    encode_frame,
    encode_headers,
    encode_settings,
    encode_window_update,
    take_frames,
)

ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=400)


@given(st.lists(st.tuples(ascii_text.map(str.lower), ascii_text), max_size=8))
def test_headers_are_read_by_others(headers: list[tuple[str, str]]) -> None:
    """Whatever their lengths; and a second time, for no table was changed."""
    decoder = hpack.Decoder()
    block = encode_headers(headers)
    for _ in range(2):
        found = decoder.decode(block)
        assert [(str(name), str(value)) for name, value in found] == headers


def test_frames_are_those_of_others() -> None:
    """Byte for byte."""
    data = DataFrame(5, data=b"abc", flags=["END_STREAM"])
    assert encode_frame(FrameType.DATA, 1, 5, b"abc") == data.serialize()
    assert encode_settings([(4, 70000)]) == SettingsFrame(0, settings={4: 70000}).serialize()
    assert encode_window_update(3, 9) == WindowUpdateFrame(3, window_increment=9).serialize()


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(min_value=1, max_value=700), max_size=8),
)
def test_frames_come_in_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    """Each once, whole, in order; what is not whole waits."""
    stream = b"".join(encode_frame(FrameType.DATA, 0, 1, payload) for payload in payloads)
    buffer, found, at = bytearray(), [], 0
    for size in [*cuts, len(stream)]:
        buffer += stream[at : at + size]
        at += size
        found += [frame.payload for frame in take_frames(buffer)]
    assert found == payloads
    assert not buffer


def test_padding_and_priority_are_no_content() -> None:
    """As a peer may add them; more padding than there is room for is refused."""
    data = DataFrame(1, data=b"abc", pad_length=7, flags=["PADDED"]).serialize()
    assert next(take_frames(bytearray(data))).content() == b"abc"
    headers = HeadersFrame(1, data=b"xyz", flags=["PRIORITY", "END_HEADERS"]).serialize()
    assert next(take_frames(bytearray(headers))).content() == b"xyz"
    with pytest.raises(ProtocolError):
        Frame(FrameType.DATA, 0x8, 1, b"\x09abc").content()


def test_what_is_no_frame_is_refused() -> None:
    """Before much is kept of it."""
    with pytest.raises(ProtocolError):
        list(take_frames(bytearray(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    with pytest.raises(ProtocolError):
        list(take_frames(bytearray((FRAME_BYTES + 1).to_bytes(3, "big") + bytes(6))))


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_messages_come_out_as_they_went_in(messages: list[bytes]) -> None:
    """One after the other; half of one stays."""
    buffer = bytearray(b"".join(map(frame_message, messages)) + b"\0\0\0")
    assert [take_message(buffer) for _ in messages] == messages
    assert take_message(buffer) is None


@pytest.mark.parametrize("head", [b"\1\0\0\0\1x", b"\0\xff\xff\xff\xff"])
def test_messages_that_we_cannot_take(head: bytes) -> None:
    """Compressed, or of four gigabytes."""
    with pytest.raises(ProtocolError):
        take_message(bytearray(head))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"grpc-status": "0"}, None),
        ({"grpc-status": "5", "grpc-message": "no%20such%3A x"}, (Status.NOT_FOUND, "no such: x")),
        ({"grpc-status": "77", "grpc-message": "odd"}, (Status.UNKNOWN, "odd")),
        ({":status": "503"}, (Status.UNKNOWN, "no gRPC status; HTTP status 503")),
    ],
)
def test_how_a_call_ended(headers: dict[str, str], expected: tuple[Status, str] | None) -> None:
    """By its trailers."""
    error = status_error(headers)
    found = (error.status, error.message) if isinstance(error, GRPCError) else None
    assert found == expected
