"""Frames as MessagePack (docs/PROTOCOL.md, "MessagePack"): a WebSocket message is an array of
frames, and a frame is a map with the names and values that it has in JSON.

Inside the node, and between processes, frames stay JSON. So only the sockets that ask for
MessagePack pay for it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.codec import UNDECODABLE, encode_frame

_NOT_JSON = b"?"
"""Stands for what cannot be read: a session answers it as any other frame that is none."""

_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


def to_json(message: bytes) -> bytes:
    """What a device has sent as it would be in JSON, one frame a line."""
    try:
        parts = _parts.decode(message)
    except UNDECODABLE:
        return _NOT_JSON
    return b"\n".join([_line(part) for part in parts])


def from_json(frames: Sequence[bytes]) -> bytes:
    """A WebSocket message from a server's frames."""
    return _encode([_decode_json(frame) for frame in frames])


def _line(part: msgspec.Raw) -> bytes:
    try:
        frame: Any = _decode(part)
        if type(frame) is dict:
            for name, value in frame.items():
                if type(value) is bytes:  # the encoder would make text of it
                    frame[name] = None
        return encode_frame(frame)
    except (*UNDECODABLE, TypeError):  # the latter for what JSON has no word for
        return _NOT_JSON
