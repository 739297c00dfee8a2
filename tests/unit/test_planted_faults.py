"""The judge judged: each fault that is planted is found, by one check, and is not found without it.

The same faults stand in a real Kafka in tests/integration/test_planted_faults.py.
"""

import inspect

import pytest

from ops.audit.claims import Claims
from ops.audit.deliveries import DeliveryJudge
from ops.audit.items import ItemJudge
from ops.audit.log import PartitionJudge
from ops.audit.verdict import CLEAN
from tests.planted.counters import COUNTER_PLANTS, CounterPlant
from tests.planted.kafka import AS_SENT, KAFKA_PLANTS
from tests.planted.memory import judged, planted
from tests.planted.plant import HONEST, Plant
from tests.planted.table import PAGE, page

JUDGES = {judge.__name__: judge for judge in (PartitionJudge, ItemJudge, DeliveryJudge, Claims)}

each = pytest.mark.parametrize("plant", KAFKA_PLANTS, ids=lambda plant: plant.fault)


def test_without_faults_the_judge_finds_nothing() -> None:
    broker, _ = planted(AS_SENT)
    verdict = judged(broker)
    assert verdict.lines() == [CLEAN]
    assert verdict.figures["messages"] > 2 * len(KAFKA_PLANTS)


@each
def test_a_planted_fault_is_found_among_all_others(plant: Plant) -> None:
    broker, laid = planted(KAFKA_PLANTS)
    verdict = judged(broker)
    assert plant.finding(laid[plant.fault]) in verdict.findings, verdict.lines()


@each
def test_a_planted_fault_is_not_found_without_its_check(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, check = plant.check.split(".")
    monkeypatch.setattr(JUDGES[judge], check, lambda *arguments: None)
    broker, laid = planted([plant])
    finding = plant.finding(laid[plant.fault])
    assert finding not in judged(broker).findings
    monkeypatch.undo()
    assert finding in judged(broker).findings


@pytest.mark.parametrize("plant", COUNTER_PLANTS, ids=lambda plant: plant.fault)
def test_a_wrong_counter_is_found_by_its_check_alone(
    plant: CounterPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, _ = planted([HONEST])
    assert judged(broker, plant.counters()).findings == [plant.finding]
    monkeypatch.setattr(PartitionJudge, plant.check.split(".")[1], lambda *arguments: None)
    assert judged(broker, plant.counters()).clean


def test_every_check_has_a_fault_that_it_finds() -> None:
    checks = {
        f"{judge.__name__}.{name}"
        for judge in JUDGES.values()
        for name, _ in inspect.getmembers(judge, inspect.isfunction)
        if name.startswith("_check_")
    }
    planted_for = {plant.check for plant in KAFKA_PLANTS}
    assert checks == planted_for | {plant.check for plant in COUNTER_PLANTS}


def test_the_page_has_the_table_as_it_is_now() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"
