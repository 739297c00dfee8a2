"""What `messenger status`, `doctor` and `completion` print."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from ops import doctor
from ops.cli import COMMANDS, main
from ops.commands.status import screen
from ops.local.home import Home
from ops.local.parts import Layout, usual_ports
from schemas.fleet import Finding, Latency, NodeReport, Overview, Report, Seen, StageReport
from tests.harness.ports import free_base_port


def test_status_is_one_screen_with_what_to_do() -> None:
    partition: dict[str, Any] = {"partition": 0, "status": "running", "lag": 7, "dead_letters": 2}
    partition["snapshot"] = {"age_seconds": 5400}
    stage = StageReport("sequencer", "t", 1, 12.5, {}, 1, False, [partition])
    node = NodeReport("aa", 3, True, 40, {}, {}, Latency(9, 10.0, 20.0, 50.0))
    parts = [
        Seen(1.0, Report("gateway", "http://g", 0, 0, [], {}, {}, node=node)),
        Seen(9.0, Report("worker", "lost:1", 0, 0, [], {}, {})),
        Seen(1.0, Report("worker", "w:1", 0, 0, ["the disk is slow"], {}, {}, [stage])),
    ]
    lines = list(screen(parts, [Finding("problem", "redis", "it is away", "look at it")], 60_000))
    assert lines[0] == "1 problem"
    assert lines[1] == (
        "12.5 messages/s, 40 connections, delivery p50 ≤ 10, p99 ≤ 50 ms, 7 records wait, "
        "2 dead letters, oldest snapshot 1.5 h"
    )
    assert ["ready" in line or "runs" in line for line in lines[3:6]] == [True, False, False]
    assert ["silent" in line for line in lines[3:6]] == [False, True, False]
    assert "unwell" in lines[5]
    assert lines[-2:] == ["! redis: it is away", "    do: look at it"]


@pytest.fixture
def pages() -> Iterator[Callable[[dict[str, tuple[int, bytes]]], str]]:
    """Serves these pages, and nothing else; returns the URL."""
    with ExitStack() as exits:

        def serve(answers: dict[str, tuple[int, bytes]]) -> str:
            class Pages(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    status, body = answers.get(self.path, (404, b"{}"))
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *arguments: object) -> None:
                    pass

            server = exits.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Pages))
            threading.Thread(target=server.serve_forever).start()
            exits.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield serve


def test_while_redis_is_away_status_asks_the_processes_themselves(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pages: Callable[[dict[str, tuple[int, bytes]]], str],
) -> None:
    stage = StageReport("sequencer", "t", 1, 12.5, {}, 1, False, [])
    worker = Seen(0.0, Report("worker", "w:1", 1, 1, [], {}, {}, [stage]))
    older = Seen(90.0, Report("worker", "w:2", 1, 1, [], {}, {}))
    overview = msgspec.json.encode(Overview(1, "w:1", [worker, older], []))
    unwell = msgspec.json.encode({"healthy": False, "node": "a", "problems": ["the slot is mute"]})
    monkeypatch.setenv("MESSENGER_HOME", str(tmp_path))
    monkeypatch.setenv("MESSENGER_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("MESSENGER_REDIS", "redis://127.0.0.1:1/0")
    first, gateway = pages({"/overview/": (200, overview)}), pages({"/health": (503, unwell)})
    asked = [
        word for url in (first, f"{gateway}/", "http://127.0.0.1:1") for word in ("--ask", url)
    ]
    shown = CliRunner().invoke(main, ["status", *asked])
    assert shown.exit_code == 1
    for line in (
        "2 problems",
        "12.5 messages/s",
        f"gateway  {gateway}",
        "worker   w:1",
        "! redis: ",
        "the slot is mute",
        "its report is 90 s old, since Redis is away",
    ):
        assert line in shown.output, (line, shown.output)
    nobody = CliRunner().invoke(main, ["status"])
    assert (nobody.exit_code, "--ask URL" in nobody.output) == (3, True)


def wrong(found: Any) -> list[str]:
    return [f"{one.what}; {one.do}" for one in found if one.do]


def test_the_doctor_knows_what_redis_must_be_like() -> None:
    good = {"redis_version": "7.0.1", "maxmemory_policy": "noeviction", "maxmemory": "0"}
    assert wrong(doctor.redis(good, time.time())) == []
    bad = {"redis_version": "6.0.16", "maxmemory_policy": "volatile-ttl", "used_memory": "95"}
    said = wrong(doctor.redis(bad | {"maxmemory": "100"}, time.time() - 9))
    for words in ("version 6.0.16", "noeviction: others evict", "95%", "9.0 s ahead of Redis'"):
        assert any(words in line for line in said), (words, said)
    assert len(said) == 4


def test_the_doctor_sees_a_port_that_somebody_has() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (said,) = wrong(doctor.ports({"redis": port}))
        assert f"{port} (redis)" in said
    assert wrong(doctor.ports({"redis": port})) == []


def test_the_doctor_sees_another_version_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrong(doctor.versions()) == []
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("click==0.1\nnot-installed==1\n")
    monkeypatch.setattr(doctor, "_CONSTRAINTS", pinned)
    (said,) = wrong(doctor.versions())
    assert "instead of 0.1" in said
    assert "not-installed" not in said


def test_the_doctor_of_a_stack_that_does_not_run_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "stack"
    asked = {"MESSENGER_HOME": str(home), "MESSENGER_BASE_PORT": str(free_base_port())}
    printed = CliRunner(env=asked).invoke(main, ["doctor"])
    assert printed.exit_code == 1, printed.output
    assert "ok   ports" in printed.output
    assert "no local stack runs in" in printed.output
    assert not home.exists()


def test_the_usual_ports_are_those_of_a_stack(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    parts = Layout(home, 9000, 1, 1).parts()
    assert {part.name: part.port for part in parts} == usual_ports(9000)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0
    assert "_MESSENGER_COMPLETE" in printed.output


def test_the_shell_completes_commands() -> None:
    asked = {
        "_MESSENGER_COMPLETE": "bash_complete",
        "COMP_WORDS": "messenger dead",
        "COMP_CWORD": "1",
    }
    printed = CliRunner(env=asked).invoke(main, prog_name="messenger")
    assert "dead-letters" in printed.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(name: str) -> None:
    printed = CliRunner().invoke(main, [name, "--help"])
    assert printed.exit_code == 0, printed.output
    assert "Example" in printed.output
