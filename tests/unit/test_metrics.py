"""Every metric is declared, documented, and named as it is in alerts and dashboards; every alert
has a runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agents.metrics import METRICS as WORKER
from agents.metrics import metrics_text
from connectors.redis.memory import MemoryRoutes
from gateway.edge.admission import AdmissionControl
from gateway.metrics import METRICS as GATEWAY
from gateway.metrics import NodeMetrics
from gateway.probe import Probe
from ops.metrics_page import PAGE, metrics_page
from schemas.fleet import Report, StageReport
from schemas.metrics import Metric
from tests.harness.memory_node import World

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "ops" / "grafana").glob("*.json"))
_SUFFIXES = "_bucket", "_sum", "_count"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels(dashboard: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and a PromQL expression."""
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]
    for dashboard in DASHBOARDS:
        for panel in panels(dashboard):
            for target in panel["targets"]:
                if "expr" in target:
                    yield f"panel {panel['title']}", target["expr"]


def named(expression: Any) -> Iterator[tuple[str, set[str]]]:
    """The metrics of a parsed expression, each with the labels that it asks for."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield str(expression.name), {matcher.name for matcher in expression.matchers.matchers}
    elif isinstance(expression, promql_parser.MatrixSelector):
        yield from named(expression.vector_selector)
    elif isinstance(expression, promql_parser.BinaryExpr):
        yield from named(expression.lhs)
        yield from named(expression.rhs)
    elif isinstance(expression, promql_parser.Call):
        for argument in expression.args:
            yield from named(argument)
    elif hasattr(expression, "expr"):
        yield from named(expression.expr)


def test_the_page_has_all_metrics_as_they_are() -> None:
    assert PAGE.read_text() == metrics_page(), "run `make docs`"


@pytest.mark.parametrize(
    ("place", "expression"), [pytest.param(*e, id=e[0]) for e in expressions()]
)
def test_what_is_asked_of_prometheus_exists(place: str, expression: str) -> None:
    declared = {one.name: one for one in (*GATEWAY, *WORKER)}
    asked = list(named(promql_parser.parse(expression)))
    assert asked, place
    for name, labels in asked:
        if name == "up":
            continue
        metric = declared.get(name) or declared[re.sub(f"({'|'.join(_SUFFIXES)})$", "", name)]
        assert labels <= {*metric.labels, "instance", "job"}, place


def families(text: bytes) -> dict[str, tuple[str, str]]:
    """name → type, and what it is."""
    found = text_string_to_metric_families(text.decode())
    return {
        one.name + ("_total" if one.type == "counter" else ""): (one.type, one.documentation)
        for one in found
    }


def declared(metrics: tuple[Metric, ...]) -> dict[str, tuple[str, str]]:
    return {one.name: (one.kind, one.about) for one in metrics}


async def test_a_node_has_the_metrics_that_are_declared() -> None:
    it = World().node()
    node = it.node
    node.parts.delivery_times.took(30)
    probe = Probe(node, MemoryRoutes(it.redis), None, 1, 5.0)
    text = NodeMetrics(node, AdmissionControl(), probe).text()
    assert families(text) == declared(GATEWAY)
    assert b'messenger_gateway_delivery_seconds_bucket{le="0.02"} 0.0' in text
    assert b'messenger_gateway_delivery_seconds_bucket{le="0.03"} 1.0' in text


def test_a_worker_has_the_metrics_that_are_declared() -> None:
    partition = {"partition": 3, "status": "halted", "lag": 5, "dead_letters": 1}
    partition["snapshot"] = {"age_seconds": 60}
    stage = StageReport("sequencer", "t", 4, 1.0, {"messages": 7}, 2, False, [partition])
    text = metrics_text(Report("worker", "w", 0, 0, ["x"], {"redis": "away"}, {}, [stage]))
    assert families(text) == declared(WORKER)
    for line in (
        b'messenger_worker_away{system="redis"} 1.0',
        b'messenger_worker_partition_halted{partition="3",stage="sequencer"} 1.0',
        b'messenger_worker_lag{partition="3",stage="sequencer"} 5.0',
        b'messenger_worker_done_total{figure="messages",stage="sequencer"} 7.0',
        b'messenger_worker_snapshot_age_seconds{partition="3"} 60.0',
    ):
        assert line in text, text.decode()


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs/RUNBOOKS.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_each_alert_is_fired_in_promtools_test() -> None:
    tests = yaml.safe_load((ROOT / "ops/prometheus/alerts_test.yml").read_text())["tests"]
    healthy, broken = (test["promql_expr_test"] for test in tests)
    assert all(asked["exp_samples"] == [] for asked in healthy)
    (asked,) = broken
    fired = [re.findall('"(.+)"', sample["labels"])[0] for sample in asked["exp_samples"]]
    assert fired == [rule["alert"] for rule in rules()]


def test_panels_do_not_cover_each_other() -> None:
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in panels(dashboard):
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
