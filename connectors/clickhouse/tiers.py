"""Which months of the archive lie on the server's cold disk. Blocking."""

from typing import NamedTuple

from connectors.clickhouse.admin import ArchiveAdmin

POLICY, COLD = "tiered", "cold"
"""A storage policy of the server: the volume `default`, then a volume `cold`
(ops/clickhouse/config.xml)."""
_TABLES = ("messages", "cursors")


class Stored(NamedTuple):
    """A month (YYYYMM) of a table on one disk. Rows that ClickHouse has not merged yet count twice,
    and so do their bytes."""

    table: str
    month: str
    disk: str
    rows: int
    bytes: int


def move_after(admin: ArchiveAdmin, months: int) -> None:
    """From now on ClickHouse moves a month to the cold disk when its last row is so many months
    old. It does so by itself, within seconds. Raises ArchiveUnavailable, ArchiveRefused."""
    for table in _TABLES:
        # without materialize_ttl_recalculate_only all rows that are there would be written anew
        admin.run(
            f"ALTER TABLE archive.{table} MODIFY SETTING storage_policy = '{POLICY}', "
            "materialize_ttl_recalculate_only = 1"
        )
        admin.run(
            f"ALTER TABLE archive.{table} "
            f"MODIFY TTL toDateTime(time) + INTERVAL {int(months)} MONTH TO VOLUME '{COLD}'"
        )


def move_back(admin: ArchiveAdmin) -> None:
    """ClickHouse moves nothing any more, and all months are on the first disk again. Raises
    ArchiveUnavailable, ArchiveRefused."""
    text = "SELECT name FROM system.tables WHERE database = 'archive' AND storage_policy = '{}'"
    tiered = {name for (name,) in admin.query(text.format(POLICY))}
    moves = "SELECT engine_full LIKE '% TTL %' FROM system.tables WHERE database = 'archive' AND "
    for table in sorted(tiered & set(_TABLES)):
        if admin.query(f"{moves} name = '{table}'") == [(1,)]:
            admin.run(f"ALTER TABLE archive.{table} REMOVE TTL")
    for month in stored(admin):
        if month.disk == COLD:
            admin.run(
                f"ALTER TABLE archive.{month.table} MOVE PARTITION {int(month.month)} "
                "TO VOLUME 'default'"
            )


def stored(admin: ArchiveAdmin) -> list[Stored]:
    """What lies where, oldest first. Raises ArchiveUnavailable, ArchiveRefused."""
    text = (
        "SELECT table, partition, disk_name, sum(rows), sum(bytes_on_disk) FROM system.parts "
        "WHERE database = 'archive' AND table IN ('messages', 'cursors') AND active "
        "GROUP BY table, partition, disk_name ORDER BY partition, table DESC, disk_name"
    )
    return [Stored(*row) for row in admin.query(text)]
