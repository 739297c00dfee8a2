"""The local stack's words: where it listens, what a part says of itself, why one does not start."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.environment import SettingsError
from ops.local.brokers import KEPT_FETCH_MS, brokers, kafka_properties
from ops.local.health import look, problem_of
from ops.local.home import DEFAULT_PARTITIONS, Home
from ops.local.parts import Layout
from ops.local.preconditions import CannotStart
from ops.local.supervisor import Supervisor


def test_a_home_knows_where_its_stack_listens(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(SettingsError, match="no local stack runs in"):
        home.base_port(None)
    assert home.base_port(9000) == 9000
    home.write_state({"base_port": 9100})
    assert home.base_port(None) == home.base_port(9100) == 9100
    with pytest.raises(SettingsError, match="listens from 9100 on"):
        home.base_port(9000)


def test_a_home_keeps_the_number_of_partitions_that_it_was_begun_with(tmp_path: Path) -> None:
    fresh = Home(tmp_path / "fresh")
    fresh.create()
    assert fresh.partitions(None) == DEFAULT_PARTITIONS
    assert fresh.begin_with(2, None) == (2, 1)
    assert fresh.begin_with(None, None) == fresh.begin_with(2, 1) == (2, 1)
    assert fresh.partitions(None) == 2
    with pytest.raises(SettingsError, match="has 2 partitions for ever, not 1; another number"):
        fresh.begin_with(1, None)


def test_a_home_keeps_the_number_of_brokers_that_it_was_begun_with(tmp_path: Path) -> None:
    fresh = Home(tmp_path / "fresh")
    fresh.create()
    assert fresh.begin_with(None, 3) == (DEFAULT_PARTITIONS, 3)
    assert fresh.begin_with(None, None)[1] == fresh.brokers(None) == fresh.brokers(3) == 3
    with pytest.raises(SettingsError, match="was begun with BROKERS=3 and keeps that number, not"):
        fresh.begin_with(None, 1)


def test_a_home_of_before_there_was_a_choice_has_four_partitions(tmp_path: Path) -> None:
    old = Home(tmp_path)
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    with pytest.raises(SettingsError, match="has 4 partitions"):
        old.begin_with(1, None)
    with pytest.raises(SettingsError, match="was begun with BROKERS=1"):
        old.begin_with(None, 3)
    assert old.begin_with(None, None) == (4, 1)


def test_three_brokers_have_ports_of_their_own_and_clients_know_them_all(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    layout = Layout(home, 8400, 8, 8, archivers=2, cursors=1, presence=1, brokers=3)
    parts = layout.parts()
    names = [part.name for part in parts if part.name.startswith("kafka")]
    assert names == ["kafka-1", "kafka-2", "kafka-3"]
    cluster = brokers(tmp_path, 8400, 3)
    assert layout.kafka() == "127.0.0.1:8408,127.0.0.1:8426,127.0.0.1:8429"
    taken = [*(part.port for part in parts), *(broker.controller for broker in cluster)]
    assert len(set(taken)) == len(taken)
    assert max(taken) <= 8430
    assert [bool(part.after) for part in parts if part.name in names] == [True, False, False]


def test_brokers_agree_on_who_votes_and_two_of_three_must_have_a_record(tmp_path: Path) -> None:
    cluster = brokers(tmp_path, 8400, 3)
    voters = "controller.quorum.voters=1@127.0.0.1:8409,2@127.0.0.1:8427,3@127.0.0.1:8430"
    for broker in cluster:
        lines = kafka_properties(broker, cluster).splitlines()
        assert {voters, f"node.id={broker.number}", "min.insync.replicas=2"} <= set(lines)
        assert f"log.dirs={tmp_path}/kafka-{broker.number}/data" in lines


def test_controllers_do_not_miss_the_active_one_at_the_same_time(tmp_path: Path) -> None:
    cluster = brokers(tmp_path, 8400, 3)
    setting = "controller.quorum.fetch.timeout.ms="
    patience = [
        int(line.removeprefix(setting))
        for broker in cluster
        for line in kafka_properties(broker, cluster).splitlines()
        if line.startswith(setting)
    ]
    assert len(set(patience)) == len(cluster)
    assert min(patience) > KEPT_FETCH_MS


async def test_a_part_that_cannot_be_prepared_says_why(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    layout = Layout(home, 8400, workers=0, gateways=1, archivers=None)
    gateway = next(part for part in layout.parts() if part.name == "gateway-1")
    supervisor = Supervisor(layout, pytest.fail)
    command = ["sh", "-c", "echo a line; echo 4 partitions, not 5 >&2; echo; exit 1"]
    with pytest.raises(CannotStart, match="preparing gateway-1 failed: 4 partitions, not 5 "):
        await supervisor._run_once(gateway, command)
    with pytest.raises(CannotStart, match="preparing gateway-1 failed: 4 partitions, not 5 "):
        await supervisor._run_once(gateway, ["false"])


@pytest.fixture
async def answers() -> AsyncIterator[dict[str, tuple[str, int, str]]]:
    """Checks of parts that answer in different ways."""
    servers: list[asyncio.Server] = []

    async def part(kind: str, answer: bytes | None) -> tuple[str, int, str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            if answer is None:
                await reader.read()  # until the other gives up
            else:
                writer.write(answer)
            writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        return kind, servers[-1].sockets[0].getsockname()[1], "/health"

    problems = b'{"healthy": false, "problems": ["kafka is unreachable", "no slot"]}'
    yield {
        "well": await part("http", b"HTTP/1.1 200 OK\r\n\r\n{}"),
        "unwell": await part("http", b"HTTP/1.1 503 Unavailable\r\nA: b\r\n\r\n" + problems),
        "other": await part("http", b"HTTP/1.1 500 Internal Server Error\r\n\r\nwhat"),
        "redis": await part("redis", b"+PONG\r\n"),
        "loading": await part("redis", b"-LOADING Redis is loading\r\n"),
        "kafka": await part("kafka", b"\0\0\0\x20\0\0\0\x01 and so on"),
        "closes": await part("kafka", b""),
        "frozen": await part("kafka", None),
    }
    for server in servers:
        server.close()
        await asyncio.sleep(0.01)


async def test_a_part_says_what_is_wrong_with_it(
    answers: dict[str, tuple[str, int, str]],
) -> None:
    found = dict(
        zip(answers, await asyncio.gather(*map(problem_of, answers.values())), strict=True)
    )
    assert {name for name, problem in found.items() if problem is None} == {
        "well",
        "redis",
        "kafka",
    }
    assert found["unwell"] == "kafka is unreachable; no slot"
    assert found["other"] == "it answers 500 Internal Server Error"
    assert found["loading"] == "it answers -LOADING Redis is loading"
    assert found["frozen"] == "it does not answer within 2 s"
    assert str(found["closes"]).startswith("it does not answer: ")


async def test_status_keeps_the_reason_beside_the_state(
    answers: dict[str, tuple[str, int, str]],
) -> None:
    parts = {
        "well": {"state": "running", "check": list(answers["well"])},
        "unwell": {"state": "running", "check": list(answers["unwell"])},
        "starting": {"state": "starting", "check": list(answers["other"])},
    }
    await look(parts)
    assert [part["state"] for part in parts.values()] == ["running", "unhealthy", "starting"]
    assert parts["well"]["problem"] == ""
    assert parts["unwell"]["problem"] == "kafka is unreachable; no slot"
