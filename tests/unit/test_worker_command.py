"""`messenger worker` says in one line what keeps it from starting (fault 26)."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agents.start_checks import group_member, known_member
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


def test_a_worker_has_the_same_name_in_its_groups_after_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known_member(tmp_path, 1) is None
    name = group_member(tmp_path, 1)
    assert group_member(tmp_path, 1) == known_member(tmp_path, 1) == name
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name)
    monkeypatch.setattr(socket, "gethostname", lambda: "an other machine" * 50)
    elsewhere = group_member(tmp_path, 1)
    (tmp_path / "copy").mkdir()
    names = {name, elsewhere, group_member(tmp_path, 2), group_member(tmp_path / "copy", 1)}
    assert len(names) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,249}", one) for one in names)
    assert known_member(tmp_path / "a disk that is gone", 1) is None
