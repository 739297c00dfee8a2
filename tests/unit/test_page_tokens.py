"""Pages of a worker: who sees which; secrets: which process of a local stack sees which."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agents.settings import WorkerSettings
from agents.start_checks import require_tokens
from connectors.environment import SettingsError, load
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.socket import Sockets
from gateway.metrics import NodeMetrics
from gateway.queries.worker_transport import HttpWorkerTransport
from ops.local.home import Home
from ops.local.parts import Layout
from ops.local.supervisor import _environment
from schemas.page_tokens import PageTokens
from streams.faust_adapter.app import MountSettings, mount
from streams.stage import Stage, StageSpec
from streams.worker import Worker
from streams.worker_api import Handler, Request, Response, json_response
from tests.harness.memory_node import World
from tests.harness.stage_run import shared
from tests.unit.test_faust_private import never

STATUS, MESSAGES = "s" * 32, "m" * 32
PAGE, COUNTERS = "/sequencer/page/0/", "/sequencer/counters/0/"


@asynccontextmanager
async def worker_pages(folder: Path, tokens: PageTokens) -> AsyncIterator[str]:
    """The URL of a worker's real web application, Faust's own pages among it."""

    async def shown(request: Request) -> Response:
        return json_response({"shown": request.path})

    patterns = "/sequencer/page/{partition}/", "/sequencer/counters/{partition}/"

    def endpoints(_: Stage[Any]) -> dict[str, Handler]:
        return dict.fromkeys(patterns, shown)

    spec = StageSpec("s", "s", "t", 1, never, endpoints=endpoints)
    kafka = MemoryKafka(MemoryBroker({"t": 1}))
    worker = Worker([spec], shared(kafka), pytest.fail)
    settings = MountSettings("127.0.0.1:1", folder, "127.0.0.1", 1, "member", tokens)
    [app] = mount(worker, kafka, settings, lambda _: None)
    app.web.init_server()
    runner = web.AppRunner(app.web.web_app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()
        await worker.close()


async def status(url: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        return answer.status


async def test_a_page_opens_by_its_token_only(tmp_path: Path) -> None:
    async with worker_pages(tmp_path, PageTokens(STATUS, MESSAGES)) as url:
        for path, opened_by in (
            (PAGE, {MESSAGES}),
            ("/sequencer/%70age/0/", {MESSAGES}),
            (COUNTERS, {STATUS, MESSAGES}),
            ("/graph/", {STATUS, MESSAGES}),  # Faust's own
            ("/monitor/", {STATUS, MESSAGES}),
            ("/", {None, "", "x" * 32, STATUS, MESSAGES}),  # the overview's files, without data
            ("/overview/page.js", {None, "", "x" * 32, STATUS, MESSAGES}),
            ("/partitions/", {STATUS, MESSAGES}),
            ("/health/", {None, "", "x" * 32, STATUS, MESSAGES}),
        ):
            for token in (None, "", "x" * 32, STATUS, MESSAGES):
                found = await status(url + path, token)
                assert (found != 401) == (token in opened_by), (path, token, found)
        assert await status(f"{url}/nothing/", None) == 401


async def test_without_tokens_every_page_is_open(tmp_path: Path) -> None:
    async with worker_pages(tmp_path, PageTokens()) as url:
        assert [await status(url + path, None) for path in (PAGE, COUNTERS)] == [200, 200]


async def test_a_gateways_questions_bring_their_token(tmp_path: Path) -> None:
    async with worker_pages(tmp_path, PageTokens(STATUS, MESSAGES)) as url:
        for token, expected in ((MESSAGES, 200), (STATUS, 401), ("", 401)):
            transport = HttpWorkerTransport(token)
            assert (await transport.request("GET", url + PAGE))[0] == expected
            await transport.close()


@pytest.mark.parametrize("only", [(), ("status",), ("messages",)])
def test_a_worker_that_others_reach_does_not_start_without_both_tokens(only: tuple[str]) -> None:
    given = {"MESSENGER_KAFKA": "k", "MESSENGER_REDIS": "r", "MESSENGER_STATE_DIR": "s"}
    given |= {f"MESSENGER_{name.upper()}_TOKEN": "t" * 32 for name in only}
    require_tokens(load(WorkerSettings, given))
    given["MESSENGER_WEB_BIND"] = "0.0.0.0"
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0: set MESSENGER_STATUS_TOKEN"):
        require_tokens(load(WorkerSettings, given))
    both = {f"MESSENGER_{name}_TOKEN": "t" * 32 for name in ("STATUS", "MESSAGES")}
    require_tokens(load(WorkerSettings, given | both))


@pytest.mark.parametrize("wrong", ["short", "x" * 32 + "\r\nHost: other", "x y" * 32])
def test_a_token_that_no_header_takes_is_refused(wrong: str) -> None:
    given = {"MESSENGER_KAFKA": "k", "MESSENGER_REDIS": "r", "MESSENGER_STATE_DIR": "s"}
    with pytest.raises(SettingsError, match="MESSENGER_STATUS_TOKEN"):
        load(WorkerSettings, given | {"MESSENGER_STATUS_TOKEN": wrong})


def test_each_secret_goes_to_the_parts_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKEN_SECRET", "CLICKHOUSE_ADMIN_PASSWORD", "STATUS_TOKEN", "CLICKHOUSE_ADMIN"):
        monkeypatch.setitem(os.environ, f"MESSENGER_{name}", "the supervisor's own")
    home = Home(tmp_path)
    home.create()
    holders: dict[str, set[str]] = {}
    for part in Layout(home, 8400, workers=1, gateways=1).parts():
        seen = _environment(part)
        assert "the supervisor's own" not in seen.values()
        for secret in ("token-secret", "clickhouse-admin", "clickhouse-gateway"):
            if any((tmp_path / secret).read_text() in value for value in seen.values()):
                holders.setdefault(secret, set()).add(part.name)
    assert holders == {
        "token-secret": {"gateway-1"},
        "clickhouse-admin": {"clickhouse"},
        "clickhouse-gateway": {"clickhouse", "gateway-1"},
    }


async def test_a_nodes_figures_need_the_status_token_if_there_is_one() -> None:
    for wanted, shown in (("", {None, STATUS, "x" * 32}), (STATUS, {STATUS})):
        node = World().node(status_token=wanted)
        admission = AdmissionControl()
        sockets = Sockets(node.node, admission.exit, 25.0)
        app = make_web_app(node.node, NodeMetrics(node.node, admission), sockets, pytest.fail)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}/metrics".format(*runner.addresses[0])
        for token in (None, STATUS, "x" * 32):
            assert (await status(url, token) == 200) == (token in shown), (wanted, token)
        await runner.cleanup()
