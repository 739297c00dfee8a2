"""Three brokers under load: each of them killed, stopped, filled up, emptied; two at once; a
partition without a leader. What Kafka has acknowledged stays.

Of these `make test` has a leader killed (tests/integration/test_three_brokers.py)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.conftest import PARTITIONS, ROUNDS
from tests.chaos.dark_times import play
from tests.harness.broker_faults import FAULTS, NEED_MOUNT
from tests.harness.brokers import may_mount
from tests.harness.load import prefixes
from tests.harness.stack import Stack

pytestmark = [
    pytest.mark.real,
    pytest.mark.chaos,
    pytest.mark.soak,
    pytest.mark.timeout(300 + 120 * ROUNDS),
]
PARTS = {"workers": 2, "gateways": 2, "cursors": None, "presence": None, "brokers": 3}


@pytest.fixture(scope="module")
def prefix() -> Iterator[str]:
    return prefixes(PARTITIONS)


def _fault(name: str) -> Any:
    lacks_mount = name in NEED_MOUNT and not may_mount()
    skip = pytest.mark.skipif(lacks_mount, reason="it must mount a small disk")
    return pytest.param(name, marks=skip)


@pytest.mark.parametrize("name", list(map(_fault, FAULTS)))
async def test_nothing_is_lost_whatever_happens_to_brokers(
    lab: Stack, prefix: Iterator[str], name: str
) -> None:
    outcome = await play(lab, next(prefix), name, FAULTS[name], ROUNDS)
    assert not outcome.counts, outcome.said
