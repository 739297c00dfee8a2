"""What ClickHouse keeps of an insert that was cut short between a table and its view."""

import uuid

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from schemas.archive import Row
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real


async def test_a_retry_with_the_same_token_feeds_the_view_that_the_first_try_did_not_reach(
    clickhouse: ClickHouse,
) -> None:
    """ClickHouse writes the part of `messages` first, and may be killed before it writes the
    view's. The retry's block is known then, and yet feeds the view."""
    rows = [
        Row(
            "half:way", seq, uuid.uuid4().bytes, "half", "phone", "hi", 1_760_000_000_000, 1, 0, seq
        )
        for seq in (1, 2, 3)
    ]
    admin = ArchiveAdmin(clickhouse.url("admin"))
    archive = ClickHouseArchive(ClickHouseClient(clickhouse.url("archiver"), 10))
    known = "SELECT max(seq) FROM archive.user_conversations WHERE conversation = 'half:way'"
    token = uuid.uuid4().hex
    await archive.insert(rows[:1], uuid.uuid4().hex)
    assert admin.query(known) == [(1,)]

    admin.run("DETACH TABLE archive.user_conversations_feed SYNC")
    await archive.insert(rows[1:], token)
    admin.run("ATTACH TABLE archive.user_conversations_feed")
    assert admin.query(known) == [(1,)], "as after the kill"

    await archive.insert(rows[1:], token)
    assert admin.query(known) == [(3,)]
    counted = "SELECT count() FROM archive.messages WHERE conversation = 'half:way'"
    assert admin.query(counted) == [(3,)], "the table has its rows once"
    await archive.close()
    admin.close()
