"""`messenger archive`: the archive's tables, retention, backup, and the archive against its
topics."""

import datetime
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from connectors.clickhouse.admin import ArchiveAdmin, ArchiveNewer
from connectors.clickhouse.ports import ArchiveMismatch, ArchiveRefused, ArchiveUnavailable
from connectors.clickhouse.tiers import move_after, move_back, stored
from connectors.environment import SettingsError
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable, OffsetGone, ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics
from ops.archive.compare import CursorReport, Report, compare, compare_cursors, fill, fill_cursors
from ops.archive.months import first_kept
from ops.archive.settings import ArchiveSettings
from ops.exits import FAILED, exit_codes, fail
from ops.settings import settings_of
from schemas.archive import Migration
from schemas.codec import NewerVersion, Undecodable
from schemas.topics import LOG, SUBMITTED, all_topics

_wait = click.option(
    "--wait", default=10.0, show_default=True, help="seconds that the archiver may be behind"
)


@click.group()
def command() -> None:
    """Look after the archive: every message, and when it was delivered and read, in ClickHouse
    (docs/ARCHIVE.md).

    Settings: MESSENGER_CLICKHOUSE_ADMIN (http://admin:password@host:8123; the local stack's by
    default), MESSENGER_KAFKA, MESSENGER_PARTITIONS.

    \b
    Example:
      messenger archive migrate
      messenger archive check
    """


@command.command()
@click.option(
    "--wait", default=0.0, show_default=True, help="seconds to wait for ClickHouse to answer"
)
def migrate(wait: float) -> None:
    """Bring the tables to what this code needs (schemas/clickhouse); safe to repeat, and for two at
    once. Code 1 when the archive is of newer code. Example: messenger archive migrate --wait 60"""
    with _admin(wait) as (admin, _):
        _migrate(admin)
        click.echo(f"the archive is of migration {admin.applied()}")


@command.command()
@click.option(
    "--months",
    required=True,
    type=click.IntRange(2),
    help="whole months to keep beside the running one",
)
@click.option("--yes", is_flag=True, help="do it; else it is only said")
def retention(months: int, yes: bool) -> None:
    """Drop months of messages and cursors that are older, for good. The log must not be what is
    older: it keeps 30 days.

    Example: messenger archive retention --months 24 --yes
    """
    kept = first_kept(datetime.datetime.now(datetime.UTC).date(), months)
    with _admin() as (admin, _):
        old = [month for month in admin.months() if month.name < kept]
        if yes and old:
            admin.say_dropped(kept)
        for month in old:
            what = f"{month.name} of {month.table}: {month.rows:,} rows, {month.bytes:,} bytes"
            click.echo(f"{'dropping' if yes else 'would drop'} {what}")
            if yes:
                admin.drop(month)
        if yes:
            admin.forget_conversations(kept)
        click.echo(
            f"kept: {kept} and later" + ("" if yes else "; nothing was dropped, --yes does it")
        )


@command.command()
@click.option(
    "--months",
    type=click.IntRange(0),
    help="from now on move months whose last message is so old; 0: none, and bring all back",
)
def tier(months: int | None) -> None:
    """Show how much each month takes, and on which disk. With --months let ClickHouse move old
    months to its disk `cold`: slower, cheaper, read in the same way (docs/ARCHIVE.md).

    Example: messenger archive tier --months 6
    """
    with _admin() as (admin, _):
        if months:
            move_after(admin, months)
        elif months == 0:
            move_back(admin)
        for one in stored(admin):
            click.echo(
                f"{one.month} of {one.table} on {one.disk}: {one.rows:,} rows, {one.bytes:,} bytes,"
                f" {one.bytes / one.rows:.1f} a row"
            )


@command.command("accept-loss")
@click.option("--yes", is_flag=True, help="do it; else it is only said")
@_wait
def accept_loss(yes: bool, wait: float) -> None:
    """Say that what is older than the archive's first message is lost for good: history begins
    there from now on. Until then devices are told to ask again later. `restore` a backup instead if
    there is one.

    Code 1 while the archive lacks a message that the log still has: nothing is lost yet.

    Example: messenger archive accept-loss --yes
    """
    with _admin() as (admin, settings), _reading(settings) as (reader, progress):
        report = compare(reader, admin, settings.partition_count, wait, progress)
        if missing := report.figures["missing"]:
            fail(
                f"{missing:,} messages of the log are not in the archive yet; wait for the "
                "archiver, or `messenger archive rebuild --from-log`"
            )
        late = admin.begin_late()
        months = [month.name for month in admin.months() if month.table == "messages"]
        click.echo(f"conversations that do not begin with their first message: {late:,}")
        if yes and months:
            admin.say_dropped(months[0])
            click.echo("accepted: history begins with what there is")


@command.command()
@click.option("--from-log", is_flag=True, required=True, help="the only source there is")
def rebuild(from_log: bool) -> None:
    """Fill what the archive lacks of the log's 30 days, and of cursors that are not older; make it
    anew if it is gone. Nothing is ever removed or replaced.

    Code 1 if something remains wrong: holes that are older than the log (`restore` a backup), or
    rows that differ.

    Example: messenger archive rebuild --from-log
    """
    with _admin() as (admin, settings), _reading(settings) as (reader, progress):
        _migrate(admin)
        admin.require_numbering(_numbering(settings))
        report = fill(reader, admin, settings.partition_count, progress)
        cursors = fill_cursors(reader, admin, settings.partition_count, _log_began(), progress)
        _tell(report, cursors, admin, filled=True)


@command.command()
@click.option(
    "--to",
    "folder",
    required=True,
    metavar="DIR",
    help="an empty or new folder, as ClickHouse sees it",
)
def backup(folder: str) -> None:
    """Copy the whole archive into a folder that ClickHouse may write (backups.allowed_path in its
    configuration; of the local stack: MESSENGER_CLICKHOUSE_BACKUPS, or `backups` in its home).

    Example: messenger archive backup --to /backups/2026-11-25
    """
    with _admin() as (admin, _):
        messages, _rows = admin.counts()
        admin.backup(os.path.abspath(folder))
        click.echo(f"{messages:,} messages and more are in {folder}")


@command.command()
@click.option(
    "--from", "folder", required=True, metavar="DIR", help="a folder that `backup` has written"
)
def restore(folder: str) -> None:
    """Bring back what a backup holds: the whole archive if there is none or it is empty, else what
    it lacks. Nothing that is there is removed. Example: messenger archive restore --from
    /backups/2026-11-25"""
    with _admin() as (admin, _):
        before = admin.counts()[0] if admin.applied() else 0
        if before == 0:
            admin.wipe()
            admin.restore(os.path.abspath(folder))
            _migrate(admin)
        else:
            _migrate(admin)
            admin.add_from(os.path.abspath(folder))
        click.echo(f"messages: {before:,} before, {admin.counts()[0]:,} now")


@command.command()
@_wait
def check(wait: float) -> None:
    """Compare every message of the log, and every cursor that is not older, with the archive, also
    under load. Code 1 if one is missing, there twice, or different, or if a conversation has a
    hole. Example: messenger archive check"""
    with _admin() as (admin, settings), _reading(settings) as (reader, progress):
        report = compare(reader, admin, settings.partition_count, wait, progress)
        cursors = compare_cursors(
            reader, admin, settings.partition_count, _log_began(), wait, progress
        )
        _tell(report, cursors, admin, filled=False)


@contextmanager
def _admin(wait: float = 0.0) -> Iterator[tuple[ArchiveAdmin, ArchiveSettings]]:
    """The archive's admin; what goes wrong becomes an exit code."""
    unreachable = (ArchiveUnavailable, KafkaUnreachable, ReadTimeout)
    with exit_codes(unreachable=unreachable, usage=(SettingsError, ValueError)):
        settings = settings_of(ArchiveSettings)
        until = time.monotonic() + wait
        while True:
            try:
                admin = ArchiveAdmin(settings.admin_url)
                break
            except ArchiveUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        try:
            yield admin, settings
        except (
            ArchiveRefused,
            ArchiveNewer,
            ArchiveMismatch,
            OffsetGone,
            NewerVersion,
            Undecodable,
        ) as error:
            fail(str(error), FAILED)
        finally:
            admin.close()


@contextmanager
def _reading(settings: ArchiveSettings) -> Iterator[tuple[Reader, Callable[[int], None]]]:
    """A reader of topics, and a bar that counts their records."""
    reader = Reader(settings.kafka_address)
    with click.progressbar(
        length=0, label="records read", show_percent=False, show_eta=False, show_pos=True
    ) as bar:

        def progress(records: int) -> None:
            bar.length = (bar.length or 0) + records
            bar.update(records)

        try:
            yield reader, progress
        finally:
            reader.close()


def _migrate(admin: ArchiveAdmin) -> None:
    def say(migration: Migration) -> None:
        click.echo(f"{migration.name}: blocks: {migration.blocks}")

    admin.migrate(say)


def _numbering(settings: ArchiveSettings) -> str:
    wanted = WantedTopics(settings.partition_count, settings.slots)
    return TopicsAdmin(settings.kafka_address, wanted).ids()[SUBMITTED]


def _log_began() -> int:
    """What is older than the log (ms) may have been dropped by retention: it is not looked for."""
    return int(time.time() * 1000) - all_topics()[LOG].retention_ms


def _tell(report: Report, cursors: CursorReport, admin: ArchiveAdmin, filled: bool) -> None:
    holes = admin.holes()
    figures = report.figures
    click.echo(f"messages in the log: {figures['messages']:,}")
    click.echo(f"{'filled' if filled else 'missing'}: {figures['missing']:,}")
    click.echo(f"twice: {figures['twice']:,}")
    click.echo(f"different: {figures['different']:,}")
    click.echo(
        f"cursors not older than the log: {cursors.cursors:,}, {'filled' if filled else 'missing'} "
        f"{cursors.missing:,}"
    )
    click.echo(
        f"conversations with holes: {len(holes):,}{' or more' if len(holes) >= 1000 else ''}"
    )
    for line in report.examples:
        click.echo(f"  {line}")
    for conversation, first, last, count in holes[:10]:
        click.echo(f"  hole: {conversation} has {count} messages from {first} to {last}")
    late = 0 if admin.has_dropped() else admin.begin_late()
    if late:
        click.echo(
            f"conversations without their beginning: {late:,} (`restore` a backup, or "
            "`accept-loss`)"
        )
    wrong = (
        holes
        or late
        or figures["twice"]
        or figures["different"]
        or ((figures["missing"] or cursors.missing) and not filled)
    )
    if wrong:
        raise SystemExit(FAILED)
