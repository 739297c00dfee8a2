"""`messenger export`: what the archive has of a person, for that person."""

import sys

import click

from connectors.clickhouse.person import PersonArchive
from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.environment import SettingsError
from ops.archive.settings import ArchiveSettings
from ops.exits import exit_codes, fail
from ops.settings import settings_of
from schemas.ids import InvalidId, user_id


@click.command()
@click.argument("user")
def command(user: str) -> None:
    """Write what the archive has of USER to stdout, as JSON lines: each message of each of the
    user's conversations, with its newest text, and each raise of the user's cursors
    (docs/ARCHIVE.md). Setting: MESSENGER_CLICKHOUSE_ADMIN.

    \b
    Example:
      messenger export alice > alice.jsonl
    """
    with exit_codes(unreachable=(ArchiveUnavailable,), usage=(SettingsError, InvalidId)):
        archive = PersonArchive(settings_of(ArchiveSettings).admin_url)
        try:
            for piece in archive.export(user_id(user)):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except ArchiveRefused as error:
            fail(str(error))
        finally:
            archive.close()
