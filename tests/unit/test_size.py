"""How much of everything a system needs."""

import json
from pathlib import Path

from click.testing import CliRunner

from ops.cli import main
from ops.size import Costs, Demand, costs_of, limits, sizes

RESULTS = json.loads((Path(__file__).parents[2] / "bench/results/latest.json").read_text())
COSTS = Costs(
    {"kafka": 80, "redis": 10, "clickhouse": 40, "worker": 100, "archiver": 12, "gateway": 90},
    {"gateway": 500, "worker": 350},
    2_400,
    50,
    70_000,
)


def test_each_part_is_what_its_messages_cost_at_the_peak() -> None:
    it = sizes(Demand(1_000_000, 864_000_000, logins=0), COSTS)
    assert it.messages == 30_000
    assert it.workers == 6
    assert it.gateways == 6
    assert it.partitions == 8
    assert it.kafka_cores == 3 * 4.8
    assert it.connections == 100_000
    assert it.clickhouse_bytes == 864_000_000 * 150 * 365
    more = sizes(Demand(1_000_000, 864_000_000, logins=86.4), COSTS)
    assert more.gateways == 9, "3,000 logins/s of 500 us"


def test_a_small_system_still_bears_the_loss_of_one_of_each() -> None:
    it = sizes(Demand(100, 1000), COSTS)
    assert (it.workers, it.gateways, it.brokers, it.partitions) == (2, 2, 3, 8)
    assert list(limits(it, Demand(100, 1000), COSTS)) == []


def test_the_largest_system_says_what_breaks_first() -> None:
    demand = Demand(2_000_000_000, 100_000_000_000)
    costs = costs_of(RESULTS)
    it = sizes(demand, costs)
    assert it.partitions >= it.workers
    first, *_ = limits(it, demand, costs)
    assert first.startswith("Redis is one server")


def test_the_command_uses_what_was_measured() -> None:
    asked = ["size", "--users", "1000000", "--messages-per-day", "40000000"]
    printed = CliRunner().invoke(main, asked)
    assert printed.exit_code == 0, printed.output
    assert "1,389 messages/s" in printed.output
    assert RESULTS["when"] in printed.output
