"""Having ClickHouse merge what was written before, and waiting for it.

A flat-out load of 25 s leaves it merges for minutes: a third of a core, which a light load or an
idle stack that is measured meanwhile would seem to cost. It rests when nobody inserts, and goes on
with them at the next insert. So it is told to merge all there is.
"""

import contextlib
import sys
import time

from bench.system import System
from connectors.clickhouse.admin import ArchiveAdmin

_QUIET_SECONDS = 5
"""The archiver is up to 3 s late, and ClickHouse begins a merge some time after it could."""


def wait_merged(admin: ArchiveAdmin, seconds: float) -> bool:
    """Merge each month into one part, and wait until there was nothing to merge for some seconds,
    but no longer than `seconds`: then it returns False."""
    until = time.monotonic() + seconds
    tables = (
        "SELECT name FROM system.tables WHERE database = 'archive' AND engine LIKE '%MergeTree'"
    )
    for (name,) in admin.query(tables):
        admin.run(f"OPTIMIZE TABLE archive.{name} FINAL")
    quiet = 0
    while quiet < _QUIET_SECONDS:
        if time.monotonic() > until:
            return False
        time.sleep(1)
        quiet = 0 if admin.query("SELECT count() FROM system.merges")[0][0] else quiet + 1
    return True


def settle(stack: System, seconds: float = 120.0) -> None:
    """`wait_merged` for a stack that may have no archive. It says so if the time was too short."""
    if "clickhouse" not in stack.pids:
        return
    began = time.monotonic()
    with contextlib.closing(ArchiveAdmin(stack.clickhouse("admin"))) as admin:
        merged = wait_merged(admin, seconds)
    waited = f"{time.monotonic() - began:.0f} s for ClickHouse's merges"
    print(f"waited {waited}{'' if merged else ', which go on'}", file=sys.stderr)
