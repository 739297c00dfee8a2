"""docs/DATA.md: each query is run as an analyst, on an archive in which every block lies twice."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from tests.data_page import ask, load, talk, worked
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real
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


def test_a_hole_is_a_gap(talked: ClickHouse) -> None:
    admin = ArchiveAdmin(talked.url("admin"))
    first = talk().messages[0]
    admin.insert([first._replace(conversation="gap:hole", sender="gap", seq=seq) for seq in (1, 4)])
    assert talked.ask("analyst", "SELECT * FROM archive.gaps") == "gap:hole\t1\t4\t2"
    admin.close()
