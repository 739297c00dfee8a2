"""A worker's pages by TLS: the real web server of its Faust app, and a gateway's questions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agents.settings import WorkerSettings
from agents.worker import run as run_worker
from connectors.environment import SettingsError
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.tls import client_tls, server_tls
from gateway.queries.worker_transport import HttpWorkerTransport, WorkersUnavailable
from ops.local.certificates import Certificates, certificates
from schemas.page_tokens import PageTokens
from streams.faust_adapter.app import MountSettings, mount
from streams.stage import Stage, StageSpec
from streams.worker import Worker
from streams.worker_api import Handler, Request, Response, json_response
from tests.harness.ports import free_base_port
from tests.harness.stage_run import shared
from tests.unit.test_faust_private import never

MESSAGES = "m" * 32


@asynccontextmanager
async def serving(folder: Path, host: str, files: Certificates) -> AsyncIterator[str]:
    """The address of a worker's pages: host:port."""

    async def shown(request: Request) -> Response:
        return json_response({"asked": len(request.body)})

    def endpoints(_: Stage[Any]) -> dict[str, Handler]:
        return {"/s/heads/": shown}

    tls = server_tls(str(files.certificate), str(files.key))
    assert tls is not None
    spec = StageSpec("s", "s", "t", 1, never, endpoints=endpoints)
    worker = Worker([spec], shared(MemoryKafka(MemoryBroker({"t": 1}))), pytest.fail)
    port = free_base_port()
    settings = MountSettings(
        "127.0.0.1:1", folder, host, port, "m", PageTokens("s" * 32, MESSAGES), tls.context
    )
    [app] = mount(worker, MemoryKafka(MemoryBroker({"t": 1})), settings, lambda _: None)
    app.web.init_server()
    await app.web.start_server()
    try:
        yield f"{host}:{port}"
    finally:
        await app.web.stop_server()
        await worker.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_gateway_asks_by_tls_and_only_whom_its_authority_has_signed(
    tmp_path: Path, run: Any
) -> None:
    files, strangers = certificates(tmp_path / "one"), certificates(tmp_path / "other")

    async def scenario() -> None:
        ours = HttpWorkerTransport(MESSAGES, client_tls(str(files.authority)))
        others = HttpWorkerTransport(MESSAGES, client_tls(str(strangers.authority)))
        plain = HttpWorkerTransport(MESSAGES)
        async with serving(tmp_path / "state", "127.0.0.1", files) as address:
            url = f"//{address}/s/heads/"
            for size in (0, 300_000, 5):  # one connection after the other, and again
                status, body = await ours.request("POST", url, b"x" * size)
                assert (status, body) == (200, b'{"asked":%d}' % size)
            with pytest.raises(WorkersUnavailable, match="certificate verify failed"):
                await others.request("POST", url, b"x")
            with pytest.raises(WorkersUnavailable):
                await plain.request("POST", url, b"x")
        # 127.0.0.2 claims to be this worker, with a certificate for 127.0.0.1
        async with serving(tmp_path / "state", "127.0.0.2", files) as address:
            with pytest.raises(WorkersUnavailable, match=r"127\.0\.0\.2"):
                await ours.request("POST", f"//{address}/s/heads/", b"x")
        for transport in (ours, others, plain):
            await transport.close()

    run(scenario())


def test_files_that_cannot_be_used_are_named_at_the_start(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    assert client_tls("") is None
    for wrong in (tmp_path / "missing", files.key):
        with pytest.raises(ValueError, match=wrong.name):
            client_tls(str(wrong))
    given = WorkerSettings(
        kafka="127.0.0.1:1",
        redis="redis://127.0.0.1:1/0",
        state_dir=str(tmp_path / "state"),
        web_port=free_base_port(),
        web_certificate=str(files.certificate),
    )
    with pytest.raises(SettingsError, match="MESSENGER_WEB_CERTIFICATE, MESSENGER_WEB_KEY: a cert"):
        run_worker(given, [])
