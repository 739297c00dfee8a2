"""Fixtures: one stack of real services for all tests that only use it, started when the first
asks."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.stack import Stack

settings.register_profile(
    "default", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("MESSENGER_HYPOTHESIS", "default"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Redis, a worker and two gateways. Tests that kill or wipe something start their
    own."""
    with Stack(
        tmp_path_factory.mktemp("stack"), gateways=2, cursors=None, presence=None
    ) as running:
        yield running
