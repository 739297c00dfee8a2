"""The parts of the benchmark that could tell a wrong figure."""

import os
import select
import socket
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bench.beside import _ask
from bench.compare import compare
from bench.generator import introduce, websocket_messages
from bench.hops import HOPS, Packet, moments_of
from bench.plots import plot
from bench.requests import requests_sent
from bench.runs import combine
from bench.system import System
from bench.table import make_table
from bench.timer import Timer
from ops.local.home import Home
from tests.harness.ports import free_base_port


def test_runs_combine_to_medians_with_spread_and_verdicts_to_sums() -> None:
    runs: list[dict[str, Any]] = [
        {"ms": {"p50": p50}, "verdict": {"lost": lost}}
        for p50, lost in ((3.0, 0), (9.0, 1), (4.0, 0))
    ]
    runs[0]["us"] = {"kafka": 6.0}
    combined = combine(runs)
    assert combined["ms"] == {"p50": [4.0, 3.0, 9.0]}
    assert combined["verdict"] == {"lost": 1}
    assert combined["us"] == {"kafka": [0, 0, 6.0]}


def test_websocket_messages_of_all_lengths_are_found_and_a_part_of_one_is_kept() -> None:
    payloads = [b"a" * 125, b"b" * 126, b"c" * 70_000]
    wire = b"".join(
        (
            b"\x81\x7d" + payloads[0],
            b"\x89\x00",
            b"\x81\x7e" + (126).to_bytes(2, "big") + payloads[1],
            b"\x81\x7f" + (70_000).to_bytes(8, "big") + payloads[2],
        )
    )
    whole = [(0x81, payloads[0]), (0x89, b""), *((0x81, payload) for payload in payloads[1:])]
    assert websocket_messages(wire + b"\x81") == (whole, b"\x81")
    found, rest = websocket_messages(wire[:-1])
    assert found == whole[:-1]
    assert websocket_messages(rest + wire[-1:]) == (whole[-1:], b"")


@pytest.mark.parametrize("ends", [True, False], ids=["it ends the connection", "it is silent"])
def test_a_gateway_that_stops_answering_ends_the_introduction(
    ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark waited for ever, and at full speed if the connection had ended."""
    monkeypatch.setattr("bench.generator._ANSWER_SECONDS", 0.5)
    over = threading.Event()

    def serve() -> None:
        with listening.accept()[0] as connection:
            for answer in (b"HTTP/1.1 101 Go on\r\n\r\n", b'\x81\x0f{"t":"welcome"}'):
                connection.recv(4096)
                connection.sendall(answer)
            connection.recv(4096)
            if not ends:
                over.wait()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            with pytest.raises(ConnectionError if ends else TimeoutError):
                introduce(listening.getsockname(), "s" * 32, ["alice"])
        finally:
            over.set()
            serving.join()


def test_the_timer_wakes_epoll_at_the_moment_and_not_before() -> None:
    timer, epoll = Timer(), select.epoll()
    epoll.register(timer.fd, select.EPOLLIN | select.EPOLLET)
    for wait in (0.0003, 0.0017, -1.0):
        at = time.monotonic() + wait
        timer.set(at)
        assert epoll.poll(5)
        assert time.monotonic() >= at
    epoll.close()
    timer.close()


def test_the_kernel_counts_what_a_client_sends_and_not_what_it_gets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as other:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            before = requests_sent([port], {"client": os.getpid()})
            for number in range(3):
                client.sendall(b"request %d" % number)
                assert other.recv(100)
                other.sendall(b"answer")
                other.sendall(b"more")
                assert client.recv(100)
            assert requests_sent([port], {"client": os.getpid()}) - before == {"client": 3}


def test_a_message_is_followed_by_its_key_from_hop_to_hop() -> None:
    mark, key = "00c0ffee", bytes.fromhex("00c0ffee" + "1" * 24)
    frame = b'{"t":"message","seq":1,"key":"%s"}' % key.hex().encode()
    gateway, kafka = 8700, 8708
    owners = {1: "gateway-1", 2: "worker-1", 4: "archiver-1"}
    packets = [
        Packet(1.0, 9, gateway, b'{"t":"send","key":"%s"}' % key.hex().encode()),
        Packet(2.0, 1, kafka, b"record " + key + b" end"),
        Packet(2.5, kafka, 4, key),  # of no hop
        Packet(3.0, kafka, 2, b"records " + key),
        Packet(4.0, 2, kafka, frame),
        Packet(4.5, 2, kafka, b"appended " + key),
        Packet(5.0, kafka, 1, frame),
        Packet(6.0, gateway, 10, frame),
        Packet(7.0, gateway, 11, frame),  # a second device
    ]
    assert moments_of(packets, gateway, owners, mark) == {key: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    assert len(HOPS) == 7


def _results(us: float, yardstick: float) -> dict[str, Any]:
    run = {
        "messages_per_second": 200.0,
        "messages_per_cpu_second": 1e6 / us,
        "ms": {"p50": 2.0, "p95": 4.0, "p99": 5.0},
        "cores": us / 5000,
        "generator_cores": 0.05,
        "us": {"kafka": us},
        "us_by_thread": {"kafka": {"request handlers": us}},
        "requests": {"gateway-1": 2.0},
        "switches": {"kafka": 20.0},
        "verdict": {"lost": 0, "twice": 0, "out_of_order": 0},
    }
    curve = {rate: combine([run] * 3) for rate in ("200/s", "2,000/s")}
    words = {name: name for name in ("when", "commit", "machine", "command", "conditions")}
    parts = {"curve": curve, "one_partition": {"left_out": "there is no --partitions"}}
    return {**words, "yardstick": [[20.0, yardstick], [20.0, yardstick]], "parts": parts}


def test_a_machine_that_is_twice_as_fast_explains_half_the_cost() -> None:
    lines = compare(_results(500.0, 600.0), _results(1000.0, 300.0)).splitlines()
    assert "the machine is 2.00 times as fast as then" in lines[1]
    assert "| curve, 200/s, us, kafka | 500 | 1,000 | 0.50 | 1.00 |" in lines
    assert "| curve, 200/s, messages per cpu second | 2,000 | 1,000 | 2.00 | 1.00 |" in lines
    assert "| curve, 200/s, ms, p50 | 2 | 2 | 1.00 |  |" in lines


def test_the_table_has_the_goals_beside_the_figures_and_says_what_was_left_out() -> None:
    table = make_table(_results(1000.0, 300.0))
    assert "| 200/s: p50 / p99 ms; cores | 2 / 5; 0.2 | ≤ 2.2 / ≤ 5.9; ≤ 0.43 |" in table
    assert "| one partition, left out | there is no --partitions |" in table
    assert "| kafka | request handlers | 1,000 | 1,000 |" in table


def test_the_plots_are_svg_with_a_line_for_each_series(tmp_path: Path) -> None:
    plot(_results(1000.0, 300.0)["parts"], tmp_path)
    for name, lines in (("latency", 4), ("cores", 4), ("cpu", 1)):
        picture = ElementTree.parse(tmp_path / f"{name}.svg")
        assert len(picture.findall(".//{http://www.w3.org/2000/svg}polyline")) == lines


def test_a_query_that_does_not_get_through_is_told(tmp_path: Path) -> None:
    Home(tmp_path).create()
    assert "Connection refused" in _ask(System(tmp_path, free_base_port()), "SELECT 1")
