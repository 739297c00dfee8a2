"""Quotas: what a node gives out, alone and beside others, on virtual time."""

from collections.abc import Callable, Iterator

import pytest

from connectors.redis.memory import MemoryQuotas
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from gateway.quotas import ADVANCE, MAX_ACCOUNTS, SETTLE_SECONDS, Kind, Limit, Quotas
from simulation.loop import VirtualLoop

RATE, MOST = 10.0, 160.0


class Nodes:
    """Nodes that share one Redis, in one loop."""

    def __init__(self, count: int) -> None:
        self.loop = VirtualLoop()
        self.server = MemoryRedisServer(self.loop.time)
        limits = {kind: Limit(RATE, MOST) for kind in Kind}
        self.quotas = [
            Quotas(limits, MemoryQuotas(MemoryRedis(self.server)), self.loop.time)
            for _ in range(count)
        ]
        self.tasks = [self.loop.create_task(quotas.run()) for quotas in self.quotas]

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.loop.advance(0.001)

    def drain(self, user: str, seconds: float) -> int:
        """How much the user gets if it asks all nodes all the time."""
        got, until = 0, self.loop.time() + seconds
        while self.loop.time() < until:
            for quotas in self.quotas:
                while not quotas.take(user, Kind.SENDS):
                    got += 1
            self.loop.advance(SETTLE_SECONDS / 10)
        return got


Make = Callable[[int], Nodes]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Nodes] = []

    def make(count: int) -> Nodes:
        made.append(Nodes(count))
        return made[-1]

    yield make
    for nodes in made:
        nodes.end()


def test_a_user_gets_what_its_bucket_holds_and_then_its_rate(make: Make) -> None:
    nodes = make(1)
    assert MOST + 10 * RATE - 2 <= nodes.drain("eve", 10) <= MOST + 10 * RATE + 2


def test_a_wait_is_as_long_as_it_must_be_and_others_do_not_wait(make: Make) -> None:
    nodes = make(1)
    while not (wait := nodes.quotas[0].take("eve", Kind.SENDS)):
        pass
    assert 0 < wait <= 1000 / RATE
    nodes.loop.advance(wait / 1000 + 0.001)
    assert nodes.quotas[0].take("eve", Kind.SENDS) == 0
    assert nodes.quotas[0].take("eve", Kind.SENDS) > 0
    assert nodes.quotas[0].take("alice", Kind.SENDS) == 0
    assert nodes.quotas[0].take("eve", Kind.QUESTIONS) == 0


def test_on_many_nodes_a_user_gets_for_long_no_more_than_on_one(make: Make) -> None:
    nodes = make(4)
    nodes.drain("eve", 60)  # each node gives out its first bucket before it knows of the others
    assert nodes.drain("eve", 60) <= 60 * RATE + 4 * MOST * ADVANCE


def test_who_uses_little_costs_redis_nothing(make: Make) -> None:
    nodes = make(2)
    for _ in range(100):
        assert nodes.quotas[0].take("alice", Kind.SENDS) == 0
        nodes.loop.advance(1 / RATE)
    assert not nodes.server.tables["quotas"]


def test_without_redis_each_node_limits_by_itself(make: Make) -> None:
    nodes = make(2)
    nodes.server.up = False
    got = nodes.drain("eve", 10)
    assert 2 * (MOST + 10 * RATE) - 4 <= got <= 2 * (MOST + 10 * RATE) + 4


def test_a_node_remembers_so_many_users_and_those_who_have_used_much(make: Make) -> None:
    quotas = make(1).quotas[0]
    while not quotas.take("eve", Kind.SENDS):
        pass
    for number in range(MAX_ACCOUNTS - 1):
        quotas.take(f"u{number}", Kind.SENDS, 0.0)
    quotas.take("one-more", Kind.SENDS)
    assert quotas.take("eve", Kind.SENDS) > 0
