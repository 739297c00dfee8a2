"""`messenger erase`: takes the texts of messages away, for good."""

import asyncio
import getpass
import time
import uuid
from collections.abc import Callable
from typing import Any

import click

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.erasing import Run, Selection, count
from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.environment import SettingsError
from connectors.kafka.ports import KafkaSendError
from connectors.kafka.recovering_producer import RecoveringProducer
from ops.archive.settings import ArchiveSettings
from ops.erasing import NotArchived, erase
from ops.exits import exit_codes, fail
from ops.settings import settings_of
from schemas.ids import InvalidId, members_of, user_id
from schemas.topics import SUBMITTED

_SEND_MS = 10_000


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--reason", required=True, help="why; it is kept in archive.erasures"),
        click.option(
            "--as",
            "who",
            default=getpass.getuser,
            show_default="the login name",
            help="who does it",
        ),
        click.option(
            "--wait", default=60.0, show_default=True, help="seconds to wait for the archive"
        ),
        click.option("--yes", is_flag=True, help="do it; else it is only said"),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Take the texts of messages away, for good: from all devices, from history and from the
    archive. The messages keep their numbers. What still lies in Kafka and in backups, and until
    when, is in docs/ARCHIVE.md, "Personal data".

    Settings: MESSENGER_CLICKHOUSE_ADMIN, MESSENGER_KAFKA, MESSENGER_PARTITIONS; the local stack's
    by default.

    \b
    Example:
      messenger erase user alice --reason "asked for it on 30 November" --yes
    """


@command.command()
@click.argument("conversation")
@click.argument("seq", type=click.IntRange(min=1))
@_options
def message(conversation: str, seq: int, **options: Any) -> None:
    """Message SEQ of CONVERSATION."""
    _erase(lambda: Selection(conversation=_known(conversation), seq=seq), **options)


@command.command()
@click.argument("conversation")
@_options
def conversation(conversation: str, **options: Any) -> None:
    """All messages of CONVERSATION, by both users."""
    _erase(lambda: Selection(conversation=_known(conversation)), **options)


@command.command()
@click.argument("user")
@_options
def user(user: str, **options: Any) -> None:
    """All messages that USER has sent, to anybody."""
    _erase(lambda: Selection(user=user_id(user)), **options)


def _known(conversation: str) -> str:
    members_of(conversation)
    return conversation


def _erase(
    selected: Callable[[], Selection], who: str, reason: str, wait: float, yes: bool
) -> None:
    unreachable = ArchiveUnavailable, KafkaSendError
    with exit_codes(unreachable=unreachable, usage=(SettingsError, InvalidId)):
        selection = selected()
        settings = settings_of(ArchiveSettings)
        admin = ArchiveAdmin(settings.admin_url)
        try:
            if not yes:
                found = count(admin, selection)
                click.echo(f"would erase {found:,} messages: {selection.name}; --yes does it")
                return
            run = Run(uuid.uuid4().hex, int(time.time() * 1000), who, reason)
            done = asyncio.run(_run(admin, settings, selection, run, wait))
            click.echo(f"erased {done:,} messages: {selection.name}")
        except (ArchiveRefused, NotArchived) as error:
            fail(str(error))
        finally:
            admin.close()


async def _run(
    admin: ArchiveAdmin, settings: ArchiveSettings, selection: Selection, run: Run, wait: float
) -> int:
    producer = RecoveringProducer(settings.kafka_address, {"message.timeout.ms": _SEND_MS})
    try:
        return await erase(
            admin,
            lambda partition, value: producer.send_and_wait(SUBMITTED, partition, value),
            settings.partition_count,
            selection,
            run,
            wait,
            lambda done: click.echo(f"{done:,} so far", err=True),
        )
    finally:
        await producer.close(0)
