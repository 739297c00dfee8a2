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
