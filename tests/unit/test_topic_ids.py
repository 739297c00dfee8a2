"""Kafka's topic ids, and what else several threads ask a client that gets no answer."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka import admin
from connectors.kafka.acls import acls
from connectors.kafka.admin import TopicsAdmin, answer
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.wanted_topics import WantedTopics

_QUESTIONS = 5


def test_whoever_asks_is_answered_although_another_thread_replaces_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """librdkafka answers nothing more of a client that nobody keeps: a worker's only thread for
    its looks at Kafka once waited for ever."""
    monkeypatch.setattr(admin, "_IDS_SECONDS", 0.2)
    answered: list[None] = []

    def ask() -> None:
        for _ in range(_QUESTIONS):
            try:
                topics.ids()
            except KafkaUnreachable:
                answered.append(None)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        topics = TopicsAdmin(f"127.0.0.1:{silent.getsockname()[1]}", WantedTopics(1, 1))
        threads = [Thread(target=ask, daemon=True) for _ in range(12)]
        until = time.monotonic() + 60
        for thread in threads:
            thread.start()
            time.sleep(0.02)  # so that one gives the client up while the others wait
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))
    assert len(answered) == len(threads) * _QUESTIONS


class _Counting(TopicsAdmin):
    """Counts the clients that it makes."""

    clients = 0

    def _connect(self) -> AdminClient:
        self.clients += 1
        return super()._connect()


def test_a_question_makes_one_client_more_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """It made two, and while Kafka was away a gateway's health asked every other second."""
    monkeypatch.setattr(admin, "_IDS_SOON_SECONDS", 0.1)
    monkeypatch.setattr(admin, "_IDS_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        topics = _Counting(f"127.0.0.1:{silent.getsockname()[1]}", WantedTopics(1, 1))
        before = topics.clients
        with pytest.raises(KafkaUnreachable):
            topics.ids()
    assert topics.clients == before + 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda topics: topics.expire("messages", 0, 1),
        lambda topics: topics.allow({"worker": acls(["sequencer"])}),
    ],
    ids=["expire", "allow"],
)
def test_what_else_is_asked_ends_although_another_thread_replaces_the_client(
    ask: Callable[[TopicsAdmin], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage deletes records of its snapshots, and had no limit for the answer."""
    monkeypatch.setattr(admin, "_IDS_SOON_SECONDS", 0.1)
    monkeypatch.setattr(admin, "_IDS_SECONDS", 0.1)
    ended: list[None] = []

    def asking() -> None:
        with pytest.raises(KafkaUnreachable):
            ask(topics)
        ended.append(None)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        topics = TopicsAdmin(f"127.0.0.1:{silent.getsockname()[1]}", WantedTopics(1, 1), 2.0)
        thread = Thread(target=asking, daemon=True)
        thread.start()
        time.sleep(0.5)  # until the other thread has asked
        with pytest.raises(KafkaUnreachable):
            topics.ids()
        thread.join(30)
    assert ended


def test_an_answer_that_librdkafka_keeps_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_LATE_SECONDS", 0.1)
    never: Future[None] = Future()
    with pytest.raises(KafkaException, match="no answer"):
        answer(never, 0.1)
