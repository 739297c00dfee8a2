"""What a broken or hostile device may send: random frames, from a seed."""

import json
import random
from typing import Any, NamedTuple

from schemas.frames import MAX_FRAMES, MAX_SOCKET_MESSAGE_BYTES
from tests.harness.raw_socket import BINARY, TEXT

SECRET = "d0-not-l0g-me"
"""Stands in every body: it must not be found in a log."""
_IDS = ["0" * 32, "f" * 32, "0123456789abcdef" * 2, "F" * 32, "0" * 31, "", "é" * 32]
_STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    2**53,
    -(2**63),
    2**64,
    10**400,
    1e308,
    "",
    "alice",
    "x" * 5000,
    "\x00\x1f",
    "\ud800",
    "🦊" * 100,
    [],
    {},
    [[]] * 50,
    {"t": "send"},
    {"a:b": 1},
]


class Message(NamedTuple):
    """A WebSocket message of so many `frames`; `fatal`: nothing may follow it on this socket."""

    payload: bytes
    frames: int
    kind: int = TEXT
    cuts: tuple[int, ...] = ()
    ping_between: bool = False
    fatal: bool = False


class Noise:
    """Random messages of the device `user`, whose token is good; they name `others`, too."""

    def __init__(self, chance: random.Random, user: str, token: str, others: list[str]) -> None:
        self._chance = chance
        self._user = user
        self._token = token
        self._names = [
            user,
            *others,
            f"{user}-stranger",
            "No Name",
            "a" * 64,
            "a" * 65,
            "..",
            "é",
            "x:y",
            "",
        ]
        self._conversations = [":".join(sorted((user, name))) for name in self._names] + [
            f"{others[0]}:{others[-1]}",
            ":",
            "a",
        ]

    def hello(self) -> bytes:
        """A good one, mostly."""
        chance = self._chance
        hello: dict[str, Any] = {
            "t": "hello",
            "id": 1,
            "version": 1,
            "token": self._token,
            "device": "wild",
        }
        kind = chance.random()
        if kind < 0.03:
            hello["version"] = chance.choice([0, 2, 99])
        elif kind < 0.1:
            hello[chance.choice(list(hello))] = chance.choice(_STRANGE)
        elif kind < 0.15:
            hello["token"] = chance.choice(
                ["a.b.c", "." * 3000, "W1tb" * 9000 + ".e30.e30", self._token[:-3], "é.é.é"]
            )
        elif kind < 0.2:
            return self._frame()
        return _dumped(hello)

    def message(self) -> Message:
        chance = self._chance
        kind = chance.random()
        if kind < 0.002:
            return Message(chance.randbytes(chance.randrange(100)), 1, BINARY, fatal=True)
        if kind < 0.004:
            return Message(
                b"x" * (MAX_SOCKET_MESSAGE_BYTES + chance.randrange(1, 1000)), 1, fatal=True
            )
        if kind < 0.0045:
            count = MAX_FRAMES + chance.randrange(-1, 2)
            return Message(
                b"\n".join([b'{"t":"ping","id":1}'] * count), count, fatal=count > MAX_FRAMES
            )
        if kind < 0.01:
            return Message(chance.choice([b"", b"\n\n\n", b" \n \n", b"\x00"]), 1)
        lines = [self._frame() for _ in range(chance.choice([1, 1, 1, 2, 5, 40]))]
        payload = b"\n".join(lines)
        if kind < 0.15 and len(payload) > 4:
            cuts = sorted(
                {chance.randrange(1, len(payload)) for _ in range(chance.randrange(1, 6))}
            )
            return Message(payload, len(lines), TEXT, tuple(cuts), chance.random() < 0.5)
        return Message(payload, len(lines))

    def _frame(self) -> bytes:
        chance = self._chance
        kind = chance.random()
        frame = self._valid()
        if kind < 0.45:
            return _dumped(frame)
        if kind < 0.75:
            for _ in range(chance.choice([1, 1, 2])):
                field = chance.choice([*frame, "new"])
                if chance.random() < 0.2:
                    frame.pop(field, None)
                else:
                    frame[field] = chance.choice(_STRANGE)
            return _dumped(frame)
        line = _dumped(frame)
        if kind < 0.82:
            return line[: chance.randrange(len(line))] or b"{"
        if kind < 0.88:
            at = chance.randrange(len(line))
            return (
                line[:at]
                + chance.choice([b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\x80"])
                + line[at:]
            )
        if kind < 0.91:
            depth = chance.choice([50, 1000, 5000])
            nested = b"[" * depth
            return chance.choice(
                [
                    b'{"t":"ping","id":1,"new":' + nested + b"]" * depth + b"}",
                    nested,
                    b'{"t":' * depth,
                ]
            )
        if kind < 0.95:
            number = chance.choice(
                [b"9" * 5000, b"1e999", b"-0", b"NaN", b"Infinity", b"1.0", b"01"]
            )
            return b'{"t":"ping","id":' + number + b"}"
        return bytes(
            chance.choice(b'{}[]":,tsendhlo0123 \\u\xff') for _ in range(chance.randrange(1, 60))
        )

    def _valid(self) -> dict[str, Any]:
        chance = self._chance
        kind, id_ = chance.random(), chance.randrange(1000)
        if kind < 0.25:
            return {"t": "ping", "id": id_}
        if kind < 0.32:
            names = chance.sample(self._conversations, chance.randrange(3))
            bounds = {
                "after": chance.choice(["", "m", "\x00", "z" * 3000]),
                "until": chance.choice(["", "a", "\uffff"]),
            }
            return {
                "t": "sync",
                "id": id_,
                "cursors": dict.fromkeys(names, chance.randrange(9)),
                **bounds,
            }
        if kind < 0.4:
            after, limit = chance.choice([0, 1, 5, 2**53 - 1]), chance.choice([1, 100, 0, 101])
            return {
                "t": "history",
                "id": id_,
                "conversation": chance.choice(self._conversations),
                "after": after,
                "limit": limit,
            }
        if kind < 0.43:
            return {"t": "hello", "id": id_, "version": 1, "token": self._token, "device": "wild"}
        if kind < 0.46:
            return {
                "t": chance.choice(["hologram", "welcome", "message", "sent", "", 7]),
                "id": id_,
            }
        return {
            "t": "send",
            "to": chance.choice(self._names),
            "outbox": chance.choice(_IDS),
            "ordinal": chance.choice([1, 2, 3, 64, 65, 2**53 - 1]),
            "key": chance.choice(_IDS),
            "body": chance.choice(["", SECRET, SECRET * 20, SECRET * 1300, "\ud800" + SECRET]),
            "round": chance.randrange(3),
        }


def _dumped(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame).encode()
