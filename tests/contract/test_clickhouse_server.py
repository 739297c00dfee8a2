"""The server out of chdb-core, and its users: a smoke test of what is private in that package (the
version is pinned)."""

import signal
import time
from base64 import b64encode
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from ops.local.parts import CLICKHOUSE_USERS
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real


def test_the_version_is_the_one_that_was_tried() -> None:
    assert version("chdb-core") == "26.9.0"


def test_it_serves_stops_and_has_kept_what_it_was_given(tmp_path: Path) -> None:
    server = ClickHouse(tmp_path)
    server.start()
    try:
        assert server.ask("admin", "SELECT 1") == "1"
        assert server.ask("admin", "CREATE DATABASE archive; ") == ""
        assert (
            server.ask("admin", "CREATE TABLE archive.t (n UInt64) ENGINE = MergeTree ORDER BY n")
            == ""
        )
        assert server.ask("admin", "INSERT INTO archive.t SELECT number FROM numbers(1000)") == ""

        second = ClickHouse(tmp_path / "second", server.base_port)
        second.spawn()
        assert second.wait() == 1, "the port is in use"

        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        server.start()
        assert server.ask("admin", "SELECT count() FROM archive.t") == "1000"
        server.kill()
        server.start()
        assert server.ask("admin", "SELECT count() FROM archive.t") == "1000"
        server.signal(signal.SIGINT)
        assert server.stop() == 0
    finally:
        server.stop()


def test_users_may_do_what_they_need_and_no_more(clickhouse: ClickHouse) -> None:
    assert clickhouse.ask("archiver", "SELECT count() >= 0 FROM archive.messages") == "1"
    for user in ("gateway", "analyst"):
        assert clickhouse.ask(user, "SELECT count() >= 0 FROM archive.messages FINAL") == "1"
        assert "ACCESS_DENIED" in clickhouse.ask(
            user, "INSERT INTO archive.numbering (submitted) VALUES ('x')"
        )
    for user in ("archiver", "gateway", "analyst"):
        for wrong in (
            "DROP TABLE archive.messages",
            "TRUNCATE TABLE archive.messages",
            "ALTER TABLE archive.messages DROP PARTITION 202601",
            "CREATE TABLE archive.mine (n UInt8) ENGINE = Log",
            "SELECT * FROM file('/etc/hostname', LineAsString)",
        ):
            assert "ACCESS_DENIED" in clickhouse.ask(user, wrong), (user, wrong)
    assert clickhouse.ask("analyst", "SELECT count() >= 0 FROM archive.exact_messages") == "1"
    assert "SETTING_CONSTRAINT_VIOLATION" in clickhouse.ask(
        "analyst", "SELECT 1 SETTINGS max_threads = 16"
    )
    assert clickhouse.ask("analyst", "SELECT getSetting('max_memory_usage_for_user') > 0") == "1"
    assert "SETTING_CONSTRAINT_VIOLATION" in clickhouse.ask(
        "analyst", "SELECT 1 SETTINGS max_memory_usage_for_user = 0"
    )
    assert "ACCESS_DENIED" in clickhouse.ask(
        "analyst", "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')"
    )


def test_a_month_without_inserts_becomes_one_part(clickhouse: ClickHouse) -> None:
    """With the server's settings, but for how long it had no insert."""
    kept = "SELECT value FROM system.merge_tree_settings WHERE name = "
    assert clickhouse.ask("admin", f"{kept}'min_age_to_force_merge_seconds'") == "86400"
    parts = "SELECT count() FROM system.parts WHERE active AND table = 'one_part'"
    ask = partial(clickhouse.ask, "admin")
    assert (
        ask(
            "CREATE TABLE archive.one_part (n UInt8) ENGINE = MergeTree ORDER BY n "
            "SETTINGS min_age_to_force_merge_seconds = 1"
        )
        == ""
    )
    try:
        for n in range(3):
            assert ask(f"INSERT INTO archive.one_part VALUES ({n})") == ""
        until = time.monotonic() + 60
        while ask(parts) != "1":
            assert time.monotonic() < until, ask(parts)
            time.sleep(0.2)
    finally:
        ask("DROP TABLE archive.one_part")


_LISTENS = "0A"


def listening_ports(pid: int) -> set[int]:
    """On which TCP ports a process listens."""
    own = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            own.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and f"socket:[{fields[9]}]" in own:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def test_only_http_is_open(clickhouse: ClickHouse) -> None:
    """Through the native port anybody on the machine would be `default`, without a password."""
    assert clickhouse.process is not None
    assert listening_ports(clickhouse.process.pid) == {clickhouse.port}


READS_A_FILE = "SELECT * FROM file('{}', LineAsString)"
FOREIGN = "http://elsewhere.example"


def test_nobody_asks_without_a_password(clickhouse: ClickHouse) -> None:
    """Else any web page that the machine's browser shows reads the admin's password: the engine's
    function `file` needs no right."""
    secret = clickhouse.home.folder / "clickhouse-admin"
    for user, password in (("admin", ""), ("admin", "wrong"), ("nobody", "")):
        answer = clickhouse.request("SELECT 1", user, password)
        assert "Authentication failed" in answer.text, (user, password, answer.text)
    basic = {"Authorization": f"Basic {b64encode(b'default:').decode()}"}
    nameless = {"Authorization": f"basic  {b64encode(b':').decode()}"}
    for text in (f"SELECT file('{secret}')", "SELECT 1", "SYSTEM STOP LISTEN TCP"):
        for method in ("GET", "POST"):
            for parameters in ("", "user=default", "user=default&password=", "%75ser=default"):
                for headers in ({}, {"X-ClickHouse-User": "default"}, basic, nameless):
                    answer = clickhouse.request(
                        text, "", "", parameters=parameters, method=method, headers=headers
                    )
                    assert answer.text == "log in", (text, method, parameters, headers, answer)
    assert clickhouse.request("", "", "", path="ping", method="GET").text.strip() == "Ok."


def test_no_user_reads_tables_out_of_files_or_addresses(clickhouse: ClickHouse) -> None:
    """Only admin's backups need files."""
    addresses = (
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
    )
    files = (
        "SELECT * FROM file('/etc/hostname', LineAsString)",
        "INSERT INTO FUNCTION file('/tmp/clickhouse-wrote', 'CSV', 'a String') VALUES ('x')",
    )
    for user in ("admin", "archiver", "gateway", "analyst"):
        for function in addresses if user == "admin" else (*addresses, *files):
            answer = clickhouse.ask(user, function)
            assert "ACCESS_DENIED" in answer, (user, function, answer)


def test_a_page_from_elsewhere_gets_no_answer(clickhouse: ClickHouse) -> None:
    users = [(user, clickhouse.home.clickhouse_password(user)) for user in CLICKHOUSE_USERS]
    for user, password in (*users, ("admin", "wrong"), ("default", ""), ("", "")):
        for parameters in ("", "add_http_cors_header=1", f"user={user}&password={password}"):
            for method in ("POST", "GET", "OPTIONS"):
                answer = clickhouse.request(
                    "SELECT 1",
                    user,
                    password,
                    parameters=parameters,
                    method=method,
                    headers={"Origin": "http://elsewhere.example"},
                )
                assert answer.text in ("not for web pages", ""), (user, method, answer)
                assert "access-control-allow-origin" not in answer.headers, (user, method, answer)
