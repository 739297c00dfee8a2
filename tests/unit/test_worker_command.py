"""`messenger worker` says in one line what keeps it from starting (fault 26)."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.ports import free_base_port


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    given = {
        "MESSENGER_KAFKA": "127.0.0.1:1",
        "MESSENGER_REDIS": "redis://127.0.0.1:1/0",
        "MESSENGER_WEB_PORT": str(free_base_port()),
    }
    return subprocess.run(
        [sys.executable, "-m", "ops", "worker", "cursors", "presence"],
        env={**os.environ, **given, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_state_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = start(MESSENGER_STATE_DIR=str(tmp_path / "file" / "state"))
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"messenger: MESSENGER_STATE_DIR: {tmp_path}/file/state cannot be written to: Not a "
        "directory"
    ]


@pytest.mark.parametrize("bind", ["127.0.0.1"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, bind: str) -> None:
    with socket.create_server((bind, 0)) as taken:
        port = taken.getsockname()[1]
        ended = start(MESSENGER_STATE_DIR=str(tmp_path), MESSENGER_WEB_PORT=str(port))
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"messenger: MESSENGER_WEB_PORT: cannot listen on {bind}:{port}: Address already in use"
    ]
