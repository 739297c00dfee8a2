"""How a metric for Prometheus is declared: docs/METRICS.md is made of these."""

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """`name` as Prometheus has it; that of a counter ends in `_total`. `unit` of its value.
    `about`: a sentence."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    about: str
    labels: tuple[str, ...] = ()


def number(name: str, unit: str, about: str, *labels: str) -> Metric:
    """A metric that is a number: a counter if its name says so, else a gauge."""
    kind: Literal["counter", "gauge"] = "counter" if name.endswith("_total") else "gauge"
    return Metric(name, kind, unit, about, labels)
