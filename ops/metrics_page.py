"""`python -m ops.metrics_page` writes docs/METRICS.md from the metrics that the code declares."""

from pathlib import Path

from agents.metrics import METRICS as WORKER
from gateway.metrics import METRICS as GATEWAY
from schemas.metrics import Metric

PAGE = Path(__file__).resolve().parents[1] / "docs" / "METRICS.md"

_HEAD = """\
# Metrics

`make docs` writes this page from the metrics that the code declares; do not edit it.

Prometheus asks `/metrics` of each gateway and `/metrics/` of each worker, with the status token if
there is one (docs/SECURITY.md). `ops/prometheus` has its configuration and alerts, docs/RUNBOOKS.md
what to do about each, `ops/grafana` the dashboards. Counters begin at 0 when a process begins.
"""


def metrics_page() -> str:
    """The text of docs/METRICS.md."""
    return f"{_HEAD}\n## Of a gateway\n\n{_table(GATEWAY)}\n## Of a worker\n\n{_table(WORKER)}"


def _table(metrics: tuple[Metric, ...]) -> str:
    lines = ["| metric | type | unit | labels | what it is |", "|---|---|---|---|---|"]
    for one in sorted(metrics):
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {one.unit} | {labels} | {one.about} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(metrics_page())
