"""Plays scripts of frames at a server, and says where it answers otherwise than docs/PROTOCOL.md.

    python clients/conformance/run.py --url http://127.0.0.1:8400 --token alice=JWT --token bob=JWT

README.md beside this file explains the scripts. Needs Python 3.11 and aiohttp, nothing of this
repository. Exit code 0: the server passes; 1: it does not.
"""

import argparse
import asyncio
import base64
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import aiohttp

SECONDS = 15.0
"""How long the server may take for one answer."""


class Deviation(Exception):
    """The server did something else than the script says."""


class Player:
    """Plays one script. `tokens`: name of a user in scripts → token."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tokens: dict[str, str]) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/v1/socket"
        self._sockets: dict[str, aiohttp.ClientWebSocketResponse] = {}
        self._frames: dict[str, list[dict[str, Any]]] = {}
        users = {name: user_of(token) for name, token in tokens.items()}
        self._names: dict[str, Any] = {f"token.{name}": token for name, token in tokens.items()}
        self._names |= {f"user.{name}": user for name, user in users.items()}
        self._names["conversation"] = ":".join(sorted(users.values()))
        self._fresh = uuid.uuid4().hex[:8]

    async def play(self, lines: list[Any]) -> None:
        """Raises Deviation."""
        try:
            for number, (socket, sign, value) in enumerate(lines, 1):
                try:
                    await self._step(socket, sign, value)
                except Deviation as wrong:
                    raise Deviation(f"step {number}: {wrong}") from None
        finally:
            for each in self._sockets.values():
                await each.close()

    async def _step(self, name: str, sign: str, value: Any) -> None:
        if name not in self._sockets:
            self._sockets[name] = await self._http.ws_connect(self._url, autoping=True)
            self._frames[name] = []
        if sign == ">":
            text = value if isinstance(value, str) else json.dumps(self._fill(value))
            await self._sockets[name].send_str(text)
        elif sign == "<":
            await self._expect(name, value)
        else:
            await self._expect_close(name, value)

    def _fill(self, value: Any) -> Any:
        """The value with its placeholders replaced."""
        if isinstance(value, dict):
            return {self._fill(key): self._fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._fill(one) for one in value]
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        name = value[1:]
        if name.startswith("new."):
            return self._names.setdefault(name, uuid.uuid4().hex)
        if name.startswith("device."):
            return f"{name[7:]}-{self._fresh}"
        return self._names[name]

    async def _expect(self, name: str, pattern: dict[str, Any]) -> None:
        while True:
            frame = await self._next(name)
            if frame is None:
                raise Deviation(f"closed with {self._sockets[name].close_code}, not {pattern}")
            if frame.get("t") == pattern["t"]:
                break
        for field, wanted in pattern.items():
            if field not in frame:
                raise Deviation(f"no field {field} in {frame}")
            self._match(field, wanted, frame[field])

    def _match(self, field: str, wanted: Any, got: Any) -> None:
        if isinstance(wanted, str) and wanted.startswith("$=") and wanted[2:] not in self._names:
            self._names[wanted[2:]] = got
        elif wanted == "$int":
            if type(got) is not int:
                raise Deviation(f"{field} is {got!r}, no integer")
        elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
            for one, other in zip(wanted, got, strict=True):
                self._match(field, one, other)
        elif isinstance(wanted, dict) and isinstance(got, dict) and wanted.keys() <= got.keys():
            for key, one in wanted.items():
                self._match(f"{field}.{key}", one, got[key])
        else:
            if isinstance(wanted, str) and wanted.startswith("$="):
                wanted = "$" + wanted[2:]
            if got != self._fill(wanted):
                raise Deviation(f"{field} is {got!r}, not {self._fill(wanted)!r}")

    async def _expect_close(self, name: str, code: int) -> None:
        while await self._next(name) is not None:
            pass
        if self._sockets[name].close_code != code:
            raise Deviation(f"closed with {self._sockets[name].close_code}, not {code}")

    async def _next(self, name: str) -> dict[str, Any] | None:
        """The next frame, None if the server has closed the socket."""
        waiting = self._frames[name]
        while not waiting:
            try:
                message = await asyncio.wait_for(self._sockets[name].receive(), SECONDS)
            except TimeoutError:
                raise Deviation(f"nothing came within {SECONDS:g} s") from None
            if message.type is not aiohttp.WSMsgType.TEXT:
                return None
            waiting += [json.loads(line) for line in message.data.split("\n") if line]
        return waiting.pop(0)


def user_of(token: str) -> str:
    """`sub` of a JWT."""
    claims = token.split(".")[1]
    user: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
    return user


async def run(url: str, tokens: dict[str, str], scripts: list[Path]) -> int:
    """How many scripts the server fails."""
    failed = 0
    async with aiohttp.ClientSession() as http:
        for path in scripts:
            about, *lines = [json.loads(line) for line in path.read_text().splitlines() if line]
            try:
                await Player(http, url, tokens).play(lines)
                print(f"passed  {path.stem}: {about}")
            except (Deviation, aiohttp.ClientError) as wrong:
                failed += 1
                print(f"FAILED  {path.stem}: {about}: {wrong}")
    return failed


def main() -> None:
    here = Path(__file__).resolve().parent / "scripts"
    parser = argparse.ArgumentParser(description="Plays scripts of frames at a server.")
    parser.add_argument("--url", required=True, help="of a gateway, for example http://host:8400")
    parser.add_argument("--token", action="append", required=True, help="alice=JWT, then bob=JWT")
    asked = parser.parse_args()
    tokens = dict(one.split("=", 1) for one in asked.token)
    if set(tokens) != {"alice", "bob"}:
        parser.error("--token alice=JWT and --token bob=JWT, of two users, are needed")
    sys.exit(1 if asyncio.run(run(asked.url, tokens, sorted(here.glob("*.jsonl")))) else 0)


if __name__ == "__main__":
    main()
