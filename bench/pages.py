"""Pages of history when the archive has many rows, and how many bytes a message takes by its age.

    python -m bench.pages [ROWS] [SECONDS]     # 20,000,000 rows; 10 s for each figure

It is no part of `make bench`: it fills ClickHouse for minutes, and needs some 100 bytes of disk a
row. It prints a table for docs/ARCHIVE.md.
"""

import asyncio
import sys
import time
from typing import Any, NamedTuple

from bench import archive, history
from bench.merges import wait_merged
from bench.system import system
from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.tiers import Stored, stored

_MONTHS_MS = 180 * 24 * 3600 * 1000
_MERGE_SECONDS = 300.0


class Kind(NamedTuple):
    """Conversations of so many messages, `each`, which have this share of all messages."""

    name: str
    share: float
    each: int

    def count(self, rows: int) -> int:
        return max(1, round(rows * self.share / self.each))


KINDS = (Kind("daily", 0.1, 100_000), Kind("often", 0.5, 2_000), Kind("seldom", 0.4, 100))
"""Each of them goes on for all of the six months, so a page has messages of several of them."""


def measure(rows: int, seconds: float) -> tuple[dict[str, Any], list[Stored]]:
    """Fill the archive. Read the newest pages through a gateway, then old ones, through it and
    straight from ClickHouse."""
    with system() as stack:
        admin = ArchiveAdmin(stack.clickhouse("admin"))
        began = time.monotonic()
        for kind in KINDS:
            _fill(admin, kind, kind.count(rows))
        filled = time.monotonic() - began
        wait_merged(admin, _MERGE_SECONDS)  # what is months old has been merged long ago
        found = {
            "rows": admin.query("SELECT count() FROM archive.messages")[0][0],
            "fill_seconds": round(filled),
            "parts": admin.query(
                "SELECT count() FROM system.parts WHERE active AND database = 'archive' "
                "AND table = 'messages'"
            )[0][0],
            "through_a_gateway": history.measure(stack, seconds, 1)[0],
        }
        for readers in (1, 8):
            found[f"from_clickhouse_{readers}"] = asyncio.run(
                archive.read(
                    stack.clickhouse("gateway"),
                    lambda turn, mixed: _place(rows, turn, mixed),
                    readers,
                    seconds,
                )
            )
        months = [month for month in stored(admin) if month.table == "messages"]
        admin.close()
        return found, months


def _fill(admin: ArchiveAdmin, kind: Kind, count: int) -> None:
    step = _MONTHS_MS // kind.each
    began = int(time.time() * 1000) - _MONTHS_MS
    archive.insert(
        admin,
        count * kind.each,
        f"concat('{kind.name}', toString(intDiv(number, {kind.each})), ':zed')",
        f"number % {kind.each} + 1",
        f"{began} + number % {kind.each} * {step} + cityHash64(number) % {step}",
    )


def _place(rows: int, turn: int, mixed: int) -> tuple[str, int]:
    kind = KINDS[turn % len(KINDS)]
    return f"{kind.name}{mixed % kind.count(rows)}:zed", kind.each


def _table(months: list[Stored]) -> str:
    lines = ["| month | messages | bytes a message |", "|---|---|---|"]
    lines += [f"| {one.month} | {one.rows:,} | {one.bytes / one.rows:.1f} |" for one in months]
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = [float(text) for text in sys.argv[1:]]
    rows, seconds = (*arguments, *(20_000_000.0, 10.0)[len(arguments) :])
    figures, months = measure(int(rows), seconds)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    print(_table(months))
