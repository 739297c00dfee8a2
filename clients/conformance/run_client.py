"""Plays the server of scripts to a client, and says where it does otherwise than docs/PROTOCOL.md.

    python clients/conformance/run_client.py COMMAND ...

COMMAND starts the client's driver. README.md beside this file explains drivers and scripts. Needs
Python 3.11 and aiohttp, nothing of this repository. Exit code 0: the client passes; 1: it does not.
"""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

SECONDS = 20.0
"""How long the client may take for one thing: longer than the longest wait before it comes back."""
AT_ONCE = 4
"""Scripts, each with a server and a driver of its own."""
USER = "alice"
QUESTIONS: dict[str, dict[str, Any]] = {
    "sync": {"t": "heads", "heads": {}},
    "get_marks": {"t": "marks", "marks": []},
    "watch": {"t": "presences", "users": []},
    "history": {"t": "page", "known": 0, "messages": [], "first": True},
    "ping": {"t": "pong"},
}
"""What the kit answers to frames of which a script says nothing."""


class Deviation(Exception):
    """The client did something else than the script says."""


class Scripted:
    """The server of one script, and the driver of the client."""

    def __init__(self, lines: list[Any]) -> None:
        self._lines = lines
        self._expected = {value["t"] for sign, value in lines if sign == ">"}
        # None: the driver has ended.
        self._frames: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._opened: asyncio.Queue[web.WebSocketResponse | None] = asyncio.Queue()
        self._socket: web.WebSocketResponse | None = None
        self._close: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The code with which the socket is to be closed."""
        self._names: dict[str, Any] = {}

    async def play(self, command: list[str]) -> None:
        """Raises Deviation."""
        app = web.Application()
        app.router.add_get("/v1/socket", self._serve)
        app.router.add_get("/v1/conversations", _no_conversations)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        driver = await asyncio.create_subprocess_exec(
            *command,
            env={
                **os.environ,
                "MESSENGER_URL": "http://{}:{}".format(*runner.addresses[0]),
                "MESSENGER_USER": USER,
                "MESSENGER_TOKEN": _token(),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        reading = asyncio.create_task(self._read(driver))
        try:
            for number, (sign, value) in enumerate(self._lines, 1):
                try:
                    await self._step(driver, sign, value)
                except Deviation as wrong:
                    raise Deviation(f"step {number}: {wrong}") from None
        finally:
            if driver.returncode is None:
                driver.kill()
            await driver.wait()
            reading.cancel()
            await runner.cleanup()

    async def _step(self, driver: asyncio.subprocess.Process, sign: str, value: Any) -> None:
        if sign == "!":
            assert driver.stdin is not None
            driver.stdin.write(json.dumps(value).encode() + b"\n")
            await driver.stdin.drain()
        elif sign == "=":
            told = await _soon(self._told, f"the driver said nothing; expected {value}")
            self._match("the driver", value, told)
        elif sign == "-":
            await asyncio.sleep(value)
            if not self._opened.empty():
                raise Deviation("the client has connected again")
        elif sign == ">":
            await self._expect(value)
        else:
            socket = await self._current()
            if sign == "x":
                self._socket = None
                self._close.set_result(value)
            else:
                await socket.send_str(
                    value if isinstance(value, str) else json.dumps(self._fill(value))
                )

    async def _current(self) -> web.WebSocketResponse:
        if self._socket is None:
            self._socket = await _soon(self._opened, "the client does not connect")
        return self._socket

    async def _expect(self, pattern: dict[str, Any]) -> None:
        await self._current()
        while True:
            frame = await _soon(self._frames, f"the client does not send {pattern}")
            if frame.get("t") == pattern["t"]:
                break
        self._match(pattern["t"], pattern, frame)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        close = self._close = asyncio.get_running_loop().create_future()
        self._opened.put_nowait(socket)
        while not close.done():
            # Closed here and not by the step: aiohttp would not wait for the client's answer.
            receiving = asyncio.create_task(socket.receive())
            await asyncio.wait((receiving, close), return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                receiving.cancel()
                await asyncio.wait((receiving,))
                continue
            message = receiving.result()
            if message.type is not WSMsgType.TEXT:
                return socket
            for answer in self._take(message.data):
                await socket.send_str(json.dumps(answer))
        await socket.close(code=close.result())
        return socket

    def _take(self, text: str) -> list[dict[str, Any]]:
        """The answers of the kit itself to the frames in `text`."""
        answers = []
        for line in filter(None, text.split("\n")):
            frame = json.loads(line)
            kind = frame.get("t")
            if kind in self._expected:
                self._frames.put_nowait(frame)
            elif kind in QUESTIONS:
                answers.append({**QUESTIONS[kind], "id": frame["id"]})
                if kind == "history":
                    answers[-1]["conversation"] = frame["conversation"]
        return answers

    async def _read(self, driver: asyncio.subprocess.Process) -> None:
        assert driver.stdout is not None
        async for line in driver.stdout:
            self._told.put_nowait(json.loads(line))
        for queue in (self._told, self._frames, self._opened):
            queue.put_nowait(None)

    def _fill(self, value: Any) -> Any:
        """The value with its placeholders replaced."""
        if isinstance(value, dict):
            return {key: self._fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._fill(one) for one in value]
        named = isinstance(value, str) and value.startswith("$")
        return self._names[value[1:]] if named else value

    def _match(self, place: str, wanted: Any, got: Any) -> None:
        if isinstance(wanted, str) and wanted.startswith("$="):
            self._names[wanted[2:]] = got
        elif wanted == "$int":
            if type(got) is not int:
                raise Deviation(f"{place} is {got!r}, no integer")
        elif isinstance(wanted, dict) and isinstance(got, dict):
            for key, one in wanted.items():
                if key not in got:
                    raise Deviation(f"{place} has no {key}: {got}")
                self._match(f"{place}.{key}", one, got[key])
        elif got != self._fill(wanted):
            raise Deviation(f"{place} is {got!r}, not {self._fill(wanted)!r}")


async def _soon(queue: "asyncio.Queue[Any]", otherwise: str) -> Any:
    try:
        got = await asyncio.wait_for(queue.get(), SECONDS)
    except TimeoutError:
        raise Deviation(f"{otherwise}, for {SECONDS:g} s") from None
    if got is None:
        raise Deviation("the driver has ended")
    return got


async def _no_conversations(_: web.Request) -> web.Response:
    return web.json_response({"conversations": [], "next": None})


def _token() -> str:
    """It looks like a JWT; nobody checks it."""
    parts: tuple[dict[str, Any], ...] = ({"alg": "none"}, {"sub": USER, "exp": 2**33}, {})
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


async def run(command: list[str], scripts: list[Path]) -> int:
    """How many scripts the client fails."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def passes(path: Path) -> bool:
        about, *lines = _lines(path)
        async with turns:
            try:
                await Scripted(lines).play(command)
            except Deviation as wrong:
                print(f"FAILED  {path.stem}: {about}: {wrong}", flush=True)
                return False
        print(f"passed  {path.stem}: {about}", flush=True)
        return True

    return (await asyncio.gather(*map(passes, scripts))).count(False)


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]} COMMAND ... (the driver of a client)")
    scripts = Path(__file__).resolve().parent / "client_scripts"
    sys.exit(1 if asyncio.run(run(sys.argv[1:], sorted(scripts.glob("*.jsonl")))) else 0)


if __name__ == "__main__":
    main()
