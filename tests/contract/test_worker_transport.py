"""What the gateway's questions to workers raise when connections break, in both loops."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from aiohttp import web

from gateway.queries.worker_transport import HttpWorkerTransport, WorkersUnavailable
from tests.harness.proxy import Proxy

Ask = Callable[[str], Coroutine[Any, Any, tuple[int, bytes]]]
Scenario = Callable[[Ask, Proxy], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """A scenario with a question that is answered with its own text, through a proxy."""

    async def echo(question: web.Request) -> web.Response:
        return web.Response(body=await question.read())

    async def behind_a_proxy(scenario: Scenario) -> None:
        app = web.Application()
        app.add_routes([web.post("/", echo)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        transport = HttpWorkerTransport()
        with Proxy(runner.addresses[0][1]) as proxy:

            async def ask(text: str) -> tuple[int, bytes]:
                url = f"http://127.0.0.1:{proxy.port}/"
                return await transport.request("POST", url, text.encode())

            assert await ask("first") == (200, b"first")
            await scenario(ask, proxy)
        await transport.close()
        await runner.cleanup()

    return lambda scenario: request.param(behind_a_proxy(scenario))


def test_resets_raise_workers_unavailable_and_the_next_question_is_answered(run: Run) -> None:
    async def scenario(ask: Ask, proxy: Proxy) -> None:
        for number in range(20):
            await asyncio.gather(*(ask(f"{n}") for n in range(4)))
            if number % 2:
                proxy.pause()
            asked = [asyncio.ensure_future(ask(f"{n}")) for n in range(number % 5)]
            await asyncio.sleep(0.002 * (number % 4))
            proxy.reset()
            proxy.resume()
            await asyncio.sleep(0.01)
            asked += [asyncio.ensure_future(ask("after"))]
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(outcome, tuple | WorkersUnavailable), repr(outcome)
            assert await ask("then") == (200, b"then")

    run(scenario)


def test_a_silent_worker_keeps_a_question_until_its_asker_gives_up(run: Run) -> None:
    async def scenario(ask: Ask, proxy: Proxy) -> None:
        for silence in (proxy.vanish, proxy.pause):
            silence()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await ask("nobody")
            proxy.resume()
            assert await ask("somebody") == (200, b"somebody"), "by a connection of its own"

    run(scenario)


def test_a_late_answer_is_not_the_next_questions_answer(run: Run) -> None:
    async def scenario(ask: Ask, proxy: Proxy) -> None:
        proxy.answer_late(0.3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask("late")
        proxy.answer_late(0)
        for number in range(30):
            assert await ask(f"{number}") == (200, f"{number}".encode())
            await asyncio.sleep(0.02)

    run(scenario)
