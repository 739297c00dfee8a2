"""`messenger worker` says in one line what keeps it from starting (fault 26)."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from agents.settings import WorkerSettings
from agents.start_checks import group_member, known_member
from connectors.environment import SettingsError
from ops.commands.worker import told
from ops.local.beside import settings_beside
from ops.local.home import Home
from tests.harness.ports import free_base_port


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    given = {
        "MESSENGER_KAFKA": "127.0.0.1:1",
        "MESSENGER_REDIS": "redis://127.0.0.1:1/0",
        "MESSENGER_WEB_PORT": str(free_base_port()),
    }
    return run(["worker", "cursors", "presence"], **{**given, **settings})


def run(words: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *words],
        env={**os.environ, **settings},
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


def test_without_a_local_stack_all_that_is_not_set_is_named_at_once(tmp_path: Path) -> None:
    nothing = f"; no local stack runs in {tmp_path}"
    unset = {"worker presence": "KAFKA, REDIS, STATE_DIR", "topics check": "KAFKA"}
    for words, names in unset.items():
        ended = run(words.split(), MESSENGER_HOME=str(tmp_path))
        every = ", ".join(f"MESSENGER_{name}" for name in names.split(", "))
        assert (ended.returncode, ended.stderr) == (2, f"messenger: not set: {every}{nothing}\n")
    ended = run(["worker", "presence"], MESSENGER_KAFKA="kafka:9092", MESSENGER_HOME=str(tmp_path))
    assert ended.stderr == "messenger: not set: MESSENGER_REDIS, MESSENGER_STATE_DIR\n"


def test_beside_a_local_stack_its_settings_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = free_base_port()
    home = Home(tmp_path)
    home.create()
    home.begin_with(3, None)
    home.write_state({"base_port": base})
    monkeypatch.setenv("MESSENGER_HOME", str(tmp_path))
    monkeypatch.setenv("MESSENGER_WEB_PORT", "7001")
    settings, found = settings_beside(
        WorkerSettings, partial(told, stages=["notifier", "presence"])
    )
    assert found is not None
    assert settings.kafka == f"127.0.0.1:{base + 8}"
    assert settings.redis == f"redis://127.0.0.1:{base + 10}/0"
    assert (settings.partitions, settings.replication, settings.local) == (3, 1, True)
    assert settings.state_dir == str(tmp_path / "worker-at-7001")
    assert (settings.web_port, settings.clickhouse) == (7001, "")
    archiver, _ = settings_beside(WorkerSettings, partial(told, stages=["archiver"]))
    assert archiver.clickhouse.endswith(f"@127.0.0.1:{base + 11}")
    ended = run(["topics", "check"])
    assert (ended.returncode, f"127.0.0.1:{base + 8}" in ended.stderr) == (3, True)
    monkeypatch.setenv("MESSENGER_REDIS", "redis://redis:6379/0")
    with pytest.raises(SettingsError, match=r"^not set: MESSENGER_KAFKA, MESSENGER_STATE_DIR$"):
        settings_beside(WorkerSettings, partial(told, stages=["presence"]))


def test_beside_a_local_stack_a_secret_may_be_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.create()
    home.begin_with(3, None)
    home.write_state({"base_port": 8400})
    (tmp_path / "archive").write_text("http://archiver:other@host:8123")
    monkeypatch.setenv("MESSENGER_HOME", str(tmp_path))
    monkeypatch.setenv("MESSENGER_CLICKHOUSE_FILE", str(tmp_path / "archive"))
    archiver, _ = settings_beside(WorkerSettings, partial(told, stages=["archiver"]))
    assert archiver.clickhouse == "http://archiver:other@host:8123"


def test_beside_a_secure_stack_a_worker_logs_in_as_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.create()
    home.secure(True)
    home.write_state({"base_port": 8400})
    monkeypatch.setenv("MESSENGER_HOME", str(tmp_path))
    for stage, user in {"presence": "worker", "webhook": "webhook"}.items():
        settings, _ = settings_beside(WorkerSettings, partial(told, stages=[stage]))
        assert settings.kafka.startswith(f"kafkas://{user}:")
        assert settings.redis.startswith(f"rediss://{user}:")
        assert settings.status_token
        assert settings.web_certificate
