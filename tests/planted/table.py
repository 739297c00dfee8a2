"""The table of planted faults in docs/AUDIT.md."""

from pathlib import Path

from ops.audit.partition_state import PartitionState
from ops.audit.topics import TopicsState
from schemas.topics import LOG
from tests.planted.counters import COUNTER_PLANTS
from tests.planted.kafka import KAFKA_PLANTS
from tests.planted.memory import judged, planted
from tests.planted.plant import HONEST, PARTITIONS
from tests.planted.pushes import PUSHES
from tests.planted.stores import STORE_PLANTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "AUDIT.md"
ALL_PLANTS = (*KAFKA_PLANTS, *STORE_PLANTS)
_BEGIN, _END = "<!-- the table, by `make docs` -->\n", "<!-- the end of the table -->\n"
_HEAD = "| fault | found by | says | exit code |\n|---|---|---|---|\n"


def rows() -> list[str]:
    """A row for each fault. What the judge says of Kafka and of counters is from a run in memory,
    now; what it must say of other stores and of devices is what tests/integration waits for."""
    broker, laid = planted(ALL_PLANTS)
    findings = set(judged(broker).findings)
    found = []
    for plant in ALL_PLANTS:
        finding = plant.finding(laid[plant.fault])
        said = plant not in KAFKA_PLANTS or finding in findings
        found.append(_row(plant.fault, plant.check, finding.line() if said else "nothing"))
    for counted in COUNTER_PLANTS:
        verdict = judged(planted([HONEST])[0], counted.counters())
        found.append(_row(counted.fault, counted.check, *verdict.take()))
    found.append(_row("a cut tail below a checkpoint", "TopicsAudit._check_tail", *_cut_tail()))
    for fault, push in PUSHES.items():
        said_of_push = push.finding("bob/two", "alice:bob").line()
        found.append(_row(f"push: {fault}", "judge_devices", said_of_push, "–"))
    return found


def _cut_tail() -> list[str]:
    broker, _ = planted([HONEST])
    state = TopicsState([PartitionState() for _ in range(PARTITIONS)])
    judged(broker, state=state)
    broker.cut_tail(LOG, 0, 2)
    return judged(broker, state=state).take()


def _row(fault: str, check: str, line: str, code: str = "1") -> str:
    mark = "``" if "`" in line else "`"
    space = " " if "`" in line else ""
    return f"| {fault} | `{check}` | {mark}{space}{line}{space}{mark} | {code} |\n"


def page() -> str:
    """docs/AUDIT.md with the table as it is now."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "".join([before, _BEGIN, "\n", _HEAD, *rows(), "\n", _END, after])
