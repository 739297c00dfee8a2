"""TLS before the local stack's ClickHouse, when the engine behind it does not answer."""

import asyncio
import socket
from pathlib import Path

import pytest

from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.tls import server_tls
from ops.local.certificates import certificates
from ops.local.clickhouse_tls import _PORT, _serve


async def test_an_engine_that_is_not_there_yet_is_away_and_does_not_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates(tmp_path)
    tls = server_tls(str(files.certificate), str(files.key))
    assert tls is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv(_PORT, str(free.getsockname()[1]))
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    serving = asyncio.create_task(_serve(listening, tls.context))
    client = ClickHouseClient(f"https://127.0.0.1:{port}?ca={files.authority}", 5.0)
    try:
        with pytest.raises(ArchiveUnavailable):
            await client.call(lambda asked: asked.query("SELECT 1"))
    finally:
        await client.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listening.close()
