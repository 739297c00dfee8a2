"""The rate of what passes."""

import pytest

from connectors.kafka.traffic import Traffic


@pytest.mark.parametrize(("items", "every"), [(1, 0.005), (1, 0.001), (40, 0.002)])
def test_the_rate_is_that_of_what_passes(items: int, every: float) -> None:
    traffic = Traffic()
    now = 100.0
    assert traffic.per_second(now) == 0.0
    for _ in range(int(1 / every)):
        now += every
        traffic.passed(items, now)
    assert traffic.per_second(now) == pytest.approx(items / every, rel=0.05)


def test_what_has_passed_is_forgotten() -> None:
    traffic = Traffic()
    traffic.passed(100, 5.0)
    assert traffic.per_second(5.0) == pytest.approx(1000)
    assert traffic.per_second(5.2) < 150
    assert traffic.per_second(6.0) < 1
