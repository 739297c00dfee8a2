"""Kafka's topic ids, asked for by several threads of a client that gets no answer."""

import socket
import time
from threading import Thread

import pytest

from connectors.kafka import admin
from connectors.kafka.admin import TopicsAdmin
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
