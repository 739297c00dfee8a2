"""docs/DATA.md, and the report: each query is run as an analyst, on an archive in which every block
lies twice."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.analyst import Analyst
from ops.report.page import Range, write
from ops.report.questions import QUESTIONS, Drawn
from tests.data_page import ask, load, talk, worked
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
RANGE = "(since = '2026-09-01 00:00:00', until = '2026-12-01 00:00:00')"


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    admin = ArchiveAdmin(server.url("admin"))
    admin.migrate(lambda _: None)
    load(admin)
    admin.close()
    yield server
    server.stop()


def test_every_query_answers_what_the_page_shows(talked: ClickHouse) -> None:
    found = list(worked())
    assert len(found) >= 12
    for one in found:
        assert ask(talked, one.query) == one.answer, one.query


def test_the_views_count_each_message_once(talked: ClickHouse) -> None:
    rows = talk().messages
    repeats = talked.ask("analyst", "SELECT sum(rows_there), sum(messages) FROM archive.repeats")
    assert repeats == f"{2 * len(rows)}\t{len(rows)}"
    for view in ("messages_by_hour", "activity_by_day", "latency_by_day"):
        counted = talked.ask("analyst", f"SELECT sum(messages) FROM archive.{view}{RANGE}")
        assert int(counted) == len(rows), view
    begun = talked.ask(
        "analyst", f"SELECT sum(new_conversations) FROM archive.activity_by_day{RANGE}"
    )
    lengths = Counter(row.conversation for row in rows)
    assert int(begun) == len(lengths)
    long = talked.ask("analyst", "SELECT sum(conversations) FROM archive.conversation_lengths")
    assert int(long) == len(lengths)
    answers = sum(
        before.sender != after.sender
        for name in lengths
        for before, after in pairwise(row for row in rows if row.conversation == name)
    )
    counted = talked.ask("analyst", f"SELECT sum(answers) FROM archive.answers_by_day{RANGE}")
    assert int(counted) == answers
    assert talked.ask("analyst", "SELECT count() FROM archive.gaps") == "0"


def test_a_report_draws_each_message_once(talked: ClickHouse, tmp_path: Path) -> None:
    rows = talk().messages
    autumn = Range(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    with Analyst(talked.url("analyst")) as analyst:
        page = write(analyst, autumn, tmp_path / "report")
    text = page.read_text()
    assert f"{len(rows):,} messages. The busiest day was " in text
    for one in QUESTIONS:
        assert f'<section id="{one.name}">' in text
        if one.drawn is not Drawn.TABLE:
            ElementTree.fromstring((page.parent / f"{one.name}.svg").read_text())
    shown = text[text.index('<section id="messages">') : text.index('<section id="hours">')]
    counts = re.findall(r"<td>\d{4}-\d\d-\d\d</td><td>([\d,]+)</td>", shown)
    assert sum(int(count.replace(",", "")) for count in counts) == len(rows)
    assert "src=" not in text, "it needs nothing from elsewhere"


def test_a_report_of_a_range_without_messages(talked: ClickHouse, tmp_path: Path) -> None:
    before = Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC))
    with Analyst(talked.url("analyst")) as analyst:
        page = write(analyst, before, tmp_path / "report")
    assert "Nobody sent a message." in page.read_text()


def test_a_hole_is_a_gap(talked: ClickHouse) -> None:
    admin = ArchiveAdmin(talked.url("admin"))
    first = talk().messages[0]
    admin.insert([first._replace(conversation="gap:hole", sender="gap", seq=seq) for seq in (1, 4)])
    assert talked.ask("analyst", "SELECT * FROM archive.gaps") == "gap:hole\t1\t4\t2"
    admin.close()


def test_each_query_of_the_dashboard_is_answered(talked: ClickHouse) -> None:
    dashboard = json.loads((ROOT / "ops/grafana/data.json").read_text())
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        query = target["rawSql"]
        for name, time in (("from", "2026-09-01 00:00:00"), ("to", "2026-12-01 00:00:00")):
            query = query.replace(f"${{__{name}:date:YYYY-MM-DD HH:mm:ss}}", time)
        rows = talked.ask("analyst", query)
        assert rows or "gaps" in query, panel["title"]


def test_changes_and_probes_are_no_messages(talked: ClickHouse) -> None:
    counts = [
        f"SELECT count(), uniqExact(sender) FROM archive.{view}"
        for view in ("sent_messages", f"message_times_between{RANGE}")
    ]
    counts += [
        f"SELECT * FROM archive.{view}{RANGE}"
        for view in ("messages_by_hour", "activity_by_day", "retention_by_week", "latency_by_day")
    ]
    counts += [
        f"SELECT * FROM archive.answers_by_day{RANGE}",
        "SELECT sum(messages) FROM archive.daily",
    ]
    admin = ArchiveAdmin(talked.url("admin"))

    def answers() -> list[str]:
        for word in ("REFRESH", "WAIT"):
            admin.run(f"SYSTEM {word} VIEW archive.daily_feed")
        return [talked.ask("analyst", query) for query in counts]

    before = answers()
    last = talk().messages[-1]
    change = last._replace(seq=last.seq + 1, body="", changes=last.seq, key=b"c" * 16)
    probe = last._replace(conversation="probe-0:probe-0.3", sender="probe-0", seq=1)
    like = last._replace(conversation="probe-0x:probe-1", sender="probe-1", seq=1)
    admin.insert([change, probe])
    assert answers() == before
    admin.insert([like])
    assert answers() != before, "somebody whose name is like that of a probe"
    admin.close()
