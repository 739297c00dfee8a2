"""What a Kafka client's statistics mean: who is away, and what is stuck."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.dependency import Dependency
from connectors.kafka.client_watch import STUCK_SECONDS, UNLED_SECONDS, ClientWatch


class _Client:
    """A watch whose client says the same every second."""

    def __init__(self) -> None:
        self.now = 50.0
        self.stuck: list[int] = []
        self.dependency = Dependency("kafka", lambda: self.now)
        self._watch = ClientWatch("a client", self.dependency, self.stuck.extend, lambda: self.now)

    def says(
        self,
        seconds: int,
        broker: Mapping[str, Any] | None = None,
        partition: Mapping[str, Any] | None = None,
        bootstrap: bool = True,
    ) -> None:
        boot = {"boot": {"name": "boot", "nodeid": -1, "state": "DOWN", "toppars": {}}}
        brokers = {
            **(boot if bootstrap else {}),
            "b/1": {
                "name": "b/1",
                "nodeid": 1,
                "state": "UP",
                "waitresp_cnt": 1,
                "rxidle": 400_000,
                "toppars": {"t-0": {"topic": "t", "partition": 0}},
                **(broker or {}),
            },
        }
        partitions = {
            "0": {
                "partition": 0,
                "leader": 1,
                "fetch_state": "active",
                "hi_offset": 7,
                **(partition or {}),
            },
            "-1": {"partition": -1, "leader": -1, "fetch_state": "none", "hi_offset": -1001},
        }
        text = json.dumps(
            {
                "type": "consumer",
                "brokers": brokers,
                "topics": {"t": {"topic": "t", "partitions": partitions}},
            }
        )
        for _ in range(seconds):
            self.now += 1
            self._watch.statistics(text)


def test_a_client_that_gets_answers_has_no_problem() -> None:
    client = _Client()
    client.says(100)
    assert (client.dependency.problem(), client.stuck) == (None, [])


def test_a_broker_that_owes_an_answer_is_away_and_comes_back() -> None:
    client = _Client()
    client.says(1, {"rxidle": 2_500_000})
    assert client.dependency.problem() is None
    client.says(1, {"rxidle": 4_000_000})
    assert "b/1 has not answered for 4 s" in str(client.dependency.problem())
    client.says(1)
    assert client.dependency.problem() is None
    client.says(10, {"rxidle": 60_000_000, "waitresp_cnt": 0})
    assert client.dependency.problem() is None, "nothing was asked"


def test_a_broker_that_cannot_be_connected_to_is_away_after_a_moment() -> None:
    client = _Client()
    client.says(1, {"state": "TRY_CONNECT", "waitresp_cnt": 0})
    assert client.dependency.problem() is None, "a client that begins connects first"
    client.says(3, {"state": "DOWN", "waitresp_cnt": 0})
    assert "b/1 cannot be connected to" in str(client.dependency.problem())


def test_a_consumer_without_partitions_needs_no_broker() -> None:
    client = _Client()
    client.says(10, {"state": "DOWN", "waitresp_cnt": 0}, {"fetch_state": "none"})
    assert client.dependency.problem() is None


@pytest.mark.parametrize(
    "partition", [{"hi_offset": -1}, {"fetch_state": "validate-epoch-wait"}], ids=str
)
def test_a_partition_without_a_fetch_from_brokers_that_answer_is_stuck(
    partition: Mapping[str, Any],
) -> None:
    client = _Client()
    silent = {"rxidle": 9_000_000}
    client.says(10, silent, partition)
    assert client.stuck == [], "the broker is away"
    client.says(int(STUCK_SECONDS) - 1, None, partition)
    assert client.stuck == []
    client.says(2, None, partition)
    assert client.stuck == [0, 0]


def test_a_partition_without_a_leader_is_not_stuck() -> None:
    client = _Client()
    client.says(20, None, {"leader": -1, "fetch_state": "offset-query", "hi_offset": -1})
    assert client.stuck == []


def test_a_client_that_knows_no_leader_for_long_is_stuck() -> None:
    """While others led, a worker's health had said for 72 s that nobody does."""
    client = _Client()
    client.says(int(UNLED_SECONDS), {"toppars": {}}, {"leader": -1})
    assert "no broker leads its partitions" in str(client.dependency.problem())
    assert client.stuck == []
    client.says(1, {"toppars": {}}, {"leader": -1})
    assert client.stuck == [0]


def test_a_consumer_that_has_forgotten_all_brokers_is_stuck() -> None:
    client = _Client()
    client.says(int(UNLED_SECONDS), {"source": "logical"}, {"leader": -1}, bootstrap=False)
    assert "it knows no broker any more" in str(client.dependency.problem())
    assert client.stuck == []
    client.says(1, {"source": "logical"}, {"leader": -1}, bootstrap=False)
    assert client.stuck == [0]


def test_a_problem_has_the_latest_reason() -> None:
    client = _Client()
    client.says(1, {"rxidle": 4_000_000})
    client.says(3, {"state": "DOWN"})
    assert "b/1 cannot be connected to" in str(client.dependency.problem())


def test_statistics_that_cannot_be_read_end_nothing() -> None:
    client = _Client()
    client._watch.statistics('{"brokers": 1}')
    client._watch.statistics("nonsense")
    client.says(1)
