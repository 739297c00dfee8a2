"""What a node publishes of its users: the truth, in the end, whatever Kafka does not take."""

import asyncio
from collections.abc import Hashable

from gateway.coalescing_publisher import MAX_WAITING, CoalescingPublisher
from gateway.presence.announcer import GRACE_SECONDS, PresenceAnnouncer
from gateway.submit import MAX_UNACKNOWLEDGED
from schemas.codec import decode_presence
from schemas.events import PresenceChange
from tests.harness.slow_kafka import Sent, SlowKafka, fail
from tests.harness.virtual import run


def changes(sent: list[Sent]) -> list[PresenceChange]:
    return [change for record in sent for change in decode_presence(record.value).items]


def online(sent: list[Sent]) -> list[tuple[str, bool]]:
    return [(change.user, change.online) for change in changes(sent)]


class PerTurn:
    """Counts what is done in one turn of the loop: `most` in any."""

    def __init__(self) -> None:
        self.most = self._now = 0

    def add(self, count: int) -> None:
        if not self._now:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._now += count
        self.most = max(self.most, self._now)

    def _next_turn(self) -> None:
        self._now = 0


def count_calls(publisher: CoalescingPublisher[PresenceChange], turn: PerTurn) -> None:
    put = publisher.put

    def counted(key: Hashable, partition: int, fact: PresenceChange) -> bool:
        turn.add(1)
        return put(key, partition, fact)

    publisher.put = counted  # type: ignore[method-assign]


def test_a_fact_that_kafka_did_not_take_never_follows_a_newer_one() -> None:
    """Fault 3: "on" is still under way when "off" is sent, and the other way round."""

    async def scenario(come_back: bool) -> None:
        kafka = SlowKafka()
        announcer = PresenceAnnouncer("n1", 1, kafka)
        announcer.came("bob")
        await asyncio.sleep(1)
        announcer.went("bob", goodbye=True)
        await asyncio.sleep(1)
        if come_back:
            announcer.came("bob")
            await asyncio.sleep(1)
        sent = kafka.take()
        assert online(sent) == [("bob", True), ("bob", False), ("bob", True)][: 2 + come_back]
        for record in sent[:-1]:
            fail(record)  # and Kafka has taken the last
            await asyncio.sleep(2)
        assert set(online(kafka.take())) <= {("bob", come_back)}

    for come_back in (False, True):
        run(scenario(come_back))


def test_a_fact_that_kafka_did_not_take_is_published_again() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        announcer = PresenceAnnouncer("n1", 1, kafka)
        announcer.came("bob")
        for _ in range(3):
            await asyncio.sleep(2)
            (sent,) = kafka.take()
            assert online([sent]) == [("bob", True)]
            fail(sent)

    run(scenario())


def test_a_device_that_comes_back_within_the_grace_was_never_gone() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        announcer = PresenceAnnouncer("n1", 1, kafka)
        announcer.came("bob")
        await asyncio.sleep(1)
        announcer.went("bob", goodbye=False)
        await asyncio.sleep(GRACE_SECONDS - 0.1)
        announcer.came("bob")
        await asyncio.sleep(GRACE_SECONDS * 2)
        assert online(kafka.take()) == [("bob", True)]
        announcer.went("bob", goodbye=False)
        await asyncio.sleep(GRACE_SECONDS + 0.2)
        assert online(kafka.take()) == [("bob", False)]
        announcer.came("bob")
        announcer.came("bob")
        announcer.went("bob", goodbye=True)
        await asyncio.sleep(1)
        assert online(kafka.take()) == [("bob", True)], "another device is still here"

    run(scenario())


def test_a_node_with_many_users_announces_all_of_them_and_never_stops_the_loop() -> None:
    """Fault 15: more users than may wait, while Kafka takes nothing for a moment."""
    users = [f"user{number}" for number in range(2 * MAX_WAITING + 10_000)]

    async def scenario() -> None:
        sent, put = PerTurn(), PerTurn()
        kafka = SlowKafka(lambda record: sent.add(len(decode_presence(record.value).items)))
        announcer = PresenceAnnouncer("n1", 4, kafka)
        for user in users:
            announcer.came(user)
        await asyncio.sleep(30)
        assert set(online(kafka.take())) == {(user, True) for user in users}
        count_calls(announcer._publisher, put)
        kafka.full = True
        announcer.announce()
        announcer.went(users[0], goodbye=True)
        await asyncio.sleep(5)
        assert kafka.take() == []
        kafka.full = False
        await asyncio.sleep(30)
        assert dict(online(kafka.take())) == {user: user != users[0] for user in users}
        for turn in (sent, put):
            assert 0 < turn.most < 10_000, "the loop stands still while so many are published"

    run(scenario())


def test_what_is_unacknowledged_is_bounded() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        kafka.unacknowledged = MAX_UNACKNOWLEDGED + 1
        announcer = PresenceAnnouncer("n1", 1, kafka)
        announcer.came("bob")
        await asyncio.sleep(5)
        assert kafka.take() == []
        kafka.unacknowledged = 0
        await asyncio.sleep(2)
        assert online(kafka.take()) == [("bob", True)]

    run(scenario())
