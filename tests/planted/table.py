"""The table of planted faults in docs/AUDIT.md."""

from pathlib import Path

from tests.planted.counters import COUNTER_PLANTS
from tests.planted.kafka import KAFKA_PLANTS
from tests.planted.memory import judged, planted
from tests.planted.plant import HONEST
from tests.planted.stores import STORE_PLANTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "AUDIT.md"
ALL_PLANTS = (*KAFKA_PLANTS, *STORE_PLANTS)
_BEGIN, _END = "<!-- the table, by `make docs` -->\n", "<!-- the end of the table -->\n"
_HEAD = "| fault | found by | says |\n|---|---|---|\n"


def rows() -> list[str]:
    """A row for each fault. What the judge says of Kafka is from a run in memory, now; what it must
    say of other stores is what tests/integration/test_planted_faults.py waits for."""
    broker, laid = planted(ALL_PLANTS)
    findings = set(judged(broker).findings)
    found = []
    for plant in ALL_PLANTS:
        finding = plant.finding(laid[plant.fault])
        line = finding.line()
        if plant in KAFKA_PLANTS and finding not in findings:
            line = "nothing"
        found.append(f"| {plant.fault} | `{plant.check}` | `{line}` |\n")
    for counted in COUNTER_PLANTS:
        verdict = judged(planted([HONEST])[0], counted.counters())
        said = verdict.findings[0].line() if verdict.findings else "nothing"
        found.append(f"| {counted.fault} | `{counted.check}` | `{said}` |\n")
    return found


def page() -> str:
    """docs/AUDIT.md with the table as it is now."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "".join([before, _BEGIN, "\n", _HEAD, *rows(), "\n", _END, after])
