"""TLS before the local stack's ClickHouse: when the engine behind it does not answer, and when the
front itself ends."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.tls import server_tls
from ops.local.certificates import certificates
from ops.local.clickhouse_tls import _PORT, _serve

_ROOT = Path(__file__).parents[2]
_FAILS = """
import pathlib, sys, threading
from ops.local import clickhouse_tls
async def serve(*_):
    raise OSError("no file is left")
clickhouse_tls._serve = serve
clickhouse_tls.put_before(pathlib.Path(sys.argv[1]))
threading.Event().wait(60)  # as the engine's query waits
"""


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


def test_the_process_ends_with_a_line_when_its_front_ends(tmp_path: Path) -> None:
    """The engine ran on behind a port that nobody served."""
    files = certificates(tmp_path)
    config = Path(shutil.copy(_ROOT / "ops" / "clickhouse" / "config.xml", tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        _PORT: str(port),
        "MESSENGER_CLICKHOUSE_CERTIFICATE": str(files.certificate),
        "MESSENGER_CLICKHOUSE_KEY": str(files.key),
    }
    ended = subprocess.run(
        [sys.executable, "-c", _FAILS, config],
        env=os.environ | settings,
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (
        1,
        "clickhouse: TLS before it has ended by itself: OSError('no file is left')\n",
    )
