"""Old months on a second disk of a real ClickHouse: what is read is the same."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.tiers import stored
from ops.commands.archive import command
from schemas.archive import CursorRow, Row
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real

MONTH_MS = 31 * 24 * 3600 * 1000
NAME = "cold:warm"


@pytest.fixture
def admin(clickhouse: ClickHouse) -> Iterator[ArchiveAdmin]:
    """Of an empty archive."""
    made = ArchiveAdmin(clickhouse.url("admin"))
    for table in ("messages", "cursors"):
        made.run(f"TRUNCATE TABLE archive.{table}")
    yield made
    made.close()


async def _page(clickhouse: ClickHouse) -> list[tuple[int, str]]:
    archive = ClickHouseArchive(ClickHouseClient(clickhouse.url("gateway"), 30))
    try:
        return [(one.seq, one.body) for one in await archive.page(NAME, before=9, limit=50)]
    finally:
        await archive.close()


async def _wait_for_disks(admin: ArchiveAdmin, disks: list[str]) -> None:
    """Of the months, oldest first."""
    until = time.monotonic() + 60
    while (found := [one.disk for one in stored(admin) if one.table == "messages"]) != disks:
        assert time.monotonic() < until, found
        await asyncio.sleep(0.1)


async def test_old_months_move_to_the_cold_disk_and_back_and_pages_are_the_same(
    clickhouse: ClickHouse, admin: ArchiveAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tier(*arguments: str) -> str:
        told = CliRunner().invoke(command, ["tier", *arguments], catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.output

    monkeypatch.setenv("MESSENGER_CLICKHOUSE_ADMIN", clickhouse.url("admin"))
    now = int(time.time() * 1000)
    times = {seq: now - (8 - seq) * MONTH_MS for seq in range(1, 9)}
    rows = [
        Row(NAME, seq, bytes(16), "cold", "phone", f"{seq}", at, 0, 0, seq)
        for seq, at in times.items()
    ]
    admin.insert(rows)
    admin.insert_cursors([CursorRow(NAME, "warm", "read", seq, at) for seq, at in times.items()])
    page, counts = await _page(clickhouse), admin.counts()
    assert len(page) == 8
    assert " on cold" not in tier()

    tier("--months", "4")
    tier("--months", "4")
    await _wait_for_disks(admin, ["cold"] * 4 + ["default"] * 4)
    files = [path for path in clickhouse.home.folder.glob("clickhouse-cold/**/*") if path.is_file()]
    assert files
    assert await _page(clickhouse) == page
    assert admin.counts() == counts
    admin.insert([rows[0]._replace(version=1, body="")])  # as an erasure does
    assert (await _page(clickhouse))[:-1] == page[:-1]
    admin.run("OPTIMIZE TABLE archive.messages FINAL")
    assert "1" not in [body for _, body in await _page(clickhouse)]

    tier("--months", "0")
    tier("--months", "0")
    await _wait_for_disks(admin, ["default"] * 8)
    assert " on cold" not in tier()
    assert (await _page(clickhouse))[:-1] == page[:-1]
