"""WebSocket messages in fragments (RFC 6455, 5.4): whole they are one message; what breaks the
rules ends its own socket."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from schemas.codes import Close
from schemas.frames import MAX_SOCKET_MESSAGE_BYTES
from tests.harness.device import connect_raw, told
from tests.harness.raw_socket import BINARY, CLOSE, CONTINUATION, PING, TEXT, raw_frame
from tests.harness.stack import Stack

pytestmark = pytest.mark.real
PROTOCOL_ERROR, TOO_BIG = 1002, 1009
_CUT = 50_000


def ping(id_: int, size: int = 60) -> bytes:
    """A `ping` of so many bytes, with a character of two bytes in its middle."""
    start, end = b'{"t":"ping","id":%d,"more":"' % id_, b'"}'
    fill = size - len(start) - len(end) - 2
    return start + b"x" * (fill // 2) + "é".encode() + b"x" * (fill - fill // 2) + end


async def test_a_frame_in_fragments_is_one_frame(stack: Stack) -> None:
    async with AsyncExitStack() as exits:
        device = await connect_raw(stack, "fragments")
        exits.push_async_callback(device.close)
        small, whole = ping(2), ping(4, MAX_SOCKET_MESSAGE_BYTES)
        await device.send(small, cuts=(0, 0, 30, 30, len(small)))  # empty ones, too
        await device.until(b'"id":2')
        await device.send(ping(3), cuts=tuple(range(1, len(small))), ping_between=True)
        await device.until(b'"id":3')
        assert device.pongs == [b"between"] * (len(small) - 1)
        await device.send(whole, cuts=tuple(range(_CUT, len(whole), _CUT)))
        await device.until(b'"id":4')
        await device.send(whole.replace(b'"id":4', b'"id":5'))
        await device.until(b'"id":5')
        assert device.code == 0, "closed"
        await device.send_raw(raw_frame(ping(6)[:30], TEXT, final=False) + raw_frame(b"now", PING))
        async with asyncio.timeout(60):
            while device.pongs[-1] != b"now":
                await asyncio.sleep(0.01)
        assert [(frame["t"], frame["id"]) for frame in told(device)[1:]] == [
            ("pong", id_) for id_ in (2, 3, 4, 5)
        ]
        await device.send_raw(raw_frame(ping(6)[30:], CONTINUATION))
        await device.until(b'"id":6')
        assert device.code == 0, "closed"


async def test_fragments_that_break_the_rules_end_their_own_socket_only(stack: Stack) -> None:
    begun = raw_frame(ping(9)[:30], TEXT, final=False)
    wrong = {
        "a continuation of nothing": (raw_frame(ping(9), CONTINUATION), PROTOCOL_ERROR),
        "a fragment of nothing": (raw_frame(ping(9), CONTINUATION, final=False), PROTOCOL_ERROR),
        "a continuation after the end": (
            raw_frame(ping(9), TEXT) + raw_frame(b"", CONTINUATION),
            PROTOCOL_ERROR,
        ),
        "another message in between": (begun + raw_frame(ping(9), TEXT), PROTOCOL_ERROR),
        "another beginning in between": (begun + begun, PROTOCOL_ERROR),
        "a ping in fragments": (begun + raw_frame(b"half", PING, final=False), PROTOCOL_ERROR),
        "a close in between": (begun + raw_frame(b"\x03\xe8", CLOSE), 1000),
        "binary": (
            raw_frame(b"a", BINARY, final=False) + raw_frame(b"b", CONTINUATION),
            Close.NOT_TEXT.number,
        ),
        "one byte too many in sum": (in_fragments(MAX_SOCKET_MESSAGE_BYTES + 1), TOO_BIG),
        "far too much in sum, without an end": (
            in_fragments(4 * MAX_SOCKET_MESSAGE_BYTES),
            TOO_BIG,
        ),
    }
    async with AsyncExitStack() as exits:
        beside = await connect_raw(stack, "beside-fragments")
        exits.push_async_callback(beside.close)
        for number, (name, (data, code)) in enumerate(wrong.items()):
            device = await connect_raw(stack, f"wrong-{number}")
            exits.push_async_callback(device.close)
            await device.send_raw(data)
            async with asyncio.timeout(60):
                await device.closed.wait()
            assert device.code == code, name
            await beside.send(ping(100 + number))
            await beside.until(b'"id":%d' % (100 + number))
        assert not beside.closed.is_set()
    assert "Traceback" not in "".join(
        stack.log(part) for part in stack.parts() if part.startswith("gateway")
    )


def in_fragments(size: int) -> bytes:
    """The fragments of a message of so many bytes, all but its end."""
    payload = ping(9, size)
    starts = range(0, size, _CUT)
    return b"".join(
        raw_frame(payload[start : start + _CUT], CONTINUATION if start else TEXT, final=False)
        for start in starts
    )
