"""The supervisor keeps its parts running, and does not go on when it cannot watch one."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.local.home import Home
from ops.local.parts import Kind, Layout, Part
from ops.local.supervisor import Supervisor
from tests.harness.ports import free_base_port

SERVER = """
import http.server, os, pathlib, sys

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(3)
        self.send_response(200)
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers)
with open(pathlib.Path(__file__).with_name("started"), "a") as started:
    started.write(".")
server.serve_forever()
"""


class OnePart(Layout):
    """A stack of one small HTTP server, run by a program file that the test may take away."""

    def parts(self) -> list[Part]:
        check = ("http", self.base_port, "/")
        argv = [str(self.home.folder / "program"), str(self.base_port)]
        return [
            Part(
                *(Kind.GATEWAY, "server", argv, {}, self.base_port, check, 2.0, [], []),
                "an address",
                died=self.died,
            )
        ]

    async def died(self) -> float:
        """Writes down how often the process was started before."""
        with (self.home.folder / "died").open("a") as file:
            file.write(f"{len((self.home.folder / 'started').read_text())} ")
        return 0.3


@pytest.fixture
def layout(tmp_path: Path) -> OnePart:
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}{SERVER}")
    program.chmod(0o755)
    home = Home(tmp_path)
    home.create()
    return OnePart(home, free_base_port(), workers=0, gateways=0)


async def end_the_server(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /end HTTP/1.0\r\n\r\n")
    await reader.read()
    writer.close()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.02)


async def test_a_part_whose_program_is_gone_is_started_again_when_it_is_back(
    layout: OnePart,
) -> None:
    said: list[str] = []
    ready = asyncio.Event()
    running = asyncio.create_task(Supervisor(layout, said.append).run(ready.set))
    async with asyncio.timeout(20):
        await ready.wait()
    program = layout.home.folder / "program"
    away = program.rename(program.with_name("away"))
    await end_the_server(layout.base_port)
    await until(lambda: any("server does not start: [Errno 2]" in line for line in said))
    assert layout.home.read_state()["parts"]["server"]["state"] == "restarting"
    away.rename(program)
    await until(lambda: layout.home.read_state()["parts"]["server"]["state"] == "running")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_who_waits_for_a_dead_process_is_told_before_the_next_one_begins(
    layout: OnePart,
) -> None:
    ready = asyncio.Event()
    running = asyncio.create_task(Supervisor(layout, lambda line: None).run(ready.set))
    async with asyncio.timeout(60):
        await ready.wait()
    started = layout.home.folder / "started"
    for times in (2, 3):
        await end_the_server(layout.base_port)
        await until(lambda times=times: len(started.read_text()) == times)  # type: ignore[misc]
    assert (layout.home.folder / "died").read_text() == "1 2 "
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_it_ends_when_a_fault_of_ours_ends_a_watcher(layout: OnePart) -> None:
    def say(line: str) -> None:
        raise LookupError(line)

    ready = asyncio.Event()
    running = asyncio.create_task(Supervisor(layout, say).run(ready.set))
    async with asyncio.timeout(20):
        await ready.wait()
        await end_the_server(layout.base_port)
        with pytest.raises(LookupError, match=r"server ended \(code 3\)"):
            await running
