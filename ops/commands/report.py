"""`messenger report`: plots of what people did, from the archive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from msgspec import Struct

from connectors.clickhouse.analyst import Analyst
from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.environment import SettingsError
from ops.exits import exit_codes, fail
from ops.local.home import DEFAULT_HOME, Home
from ops.local.parts import clickhouse_url
from ops.settings import settings_of


class ReportSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md)."""

    clickhouse_analyst: str = ""
    """The archive's `http[s]://analyst:password@host:port`. Unset: the local stack's."""
    home: str = DEFAULT_HOME
    """The folder of a local stack, from which a command takes what it is not told."""
    base_port: int | None = None
    """The first port of a local stack that does not run. Unset: what the stack itself has noted."""

    @property
    def url(self) -> str:
        """Raises SettingsError."""
        if self.clickhouse_analyst:
            return self.clickhouse_analyst
        if not Path(self.home).exists():
            raise SettingsError(
                f"not set: MESSENGER_CLICKHOUSE_ANALYST, and there is no local stack in {self.home}"
            )
        home = Home(Path(self.home))
        return clickhouse_url(home, home.base_port(self.base_port), "analyst")


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="the folder to write into; the files of an earlier report are replaced",
)
@click.option(
    "--days", default=28, show_default=True, type=click.IntRange(1), help="up to now, so many"
)
def command(out: Path, days: int) -> None:
    """Draw messages, people, latency and answers of the last days: one HTML page, and its plots as
    SVG files. It asks the archive's views as user `analyst` (docs/DATA.md).

    Settings: MESSENGER_CLICKHOUSE_ANALYST (http://analyst:password@host:8123; the local stack's by
    default).

    \b
    Example:
      messenger report --out report --days 7
    """
    # matplotlib takes half a second, which no other command should
    from ops.report.page import Range, write

    until = datetime.now(UTC)
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    range_ = Range(midnight - timedelta(days=days - 1), until)
    with exit_codes(unreachable=(ArchiveUnavailable,), usage=(SettingsError, ValueError)):
        url = settings_of(ReportSettings).url
        try:
            with Analyst(url) as analyst:
                page = write(analyst, range_, out)
        except (ArchiveRefused, OSError) as error:
            fail(str(error))
    click.echo(page)
