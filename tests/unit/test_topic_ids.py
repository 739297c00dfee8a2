"""Kafka's topic ids, when the client that is asked keeps its answer back."""

from concurrent.futures import Future
from typing import Any

import pytest

from connectors.kafka import admin
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.wanted_topics import WantedTopics


class _Silent:
    """What librdkafka was once seen to be: it takes a question, and never answers."""

    def describe_topics(self, names: Any, request_timeout: float) -> dict[str, Future[Any]]:
        return {"messages": Future()}


def test_an_answer_that_never_comes_is_given_up_and_another_client_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else whoever asks in the same thread waits for ever: a worker looked at nothing any more."""
    monkeypatch.setattr(admin, "_IDS_SECONDS", 0.1)
    monkeypatch.setattr(admin, "_LATE_SECONDS", 0.1)
    topics = TopicsAdmin("127.0.0.1:1", WantedTopics(1, 1))
    topics._admin = silent = _Silent()
    with pytest.raises(KafkaUnreachable):
        topics.ids()
    assert topics._admin is not silent
