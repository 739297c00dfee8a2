"""`messenger audit`: the judge."""

import os
from pathlib import Path
from typing import Annotated

import click
from msgspec import Meta, Struct

from connectors.environment import SettingsError, load
from connectors.kafka.ports import ReadTimeout
from ops.audit.collect import CannotJudge, audit
from ops.exits import FAILED, exit_codes, fail
from ops.local.home import DEFAULT_HOME, Home


class AuditSettings(Struct, frozen=True):
    """MESSENGER_KAFKA and MESSENGER_PARTITIONS (by default those of the local stack in
    MESSENGER_HOME), MESSENGER_BASE_PORT, MESSENGER_SLOTS."""

    kafka: str = ""
    home: str = DEFAULT_HOME
    base_port: int | None = None
    partitions: Annotated[int, Meta(ge=1)] | None = None
    slots: Annotated[int, Meta(ge=1)] = 8


@click.command()
@click.option(
    "--kafka", metavar="HOST:PORT", help="instead of MESSENGER_KAFKA; the local stack's by default"
)
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="URL",
    help="a worker's monitor; the local stack's by default",
)
@click.option("--without-workers", is_flag=True, help="do not judge the workers' counters")
def command(kafka: str | None, workers: tuple[str, ...], without_workers: bool) -> None:
    """Judge the input, the log, the retained deliveries and the workers' counters, also under load.

    Says "dense, once, in order, equal everywhere" (exit code 0), or names each deviation in
    Jepsen's words (1).

    \b
    Example:
      messenger audit
      messenger audit --kafka kafka:9092 --worker http://worker-1:6066 --worker http://worker-2:6066
    """
    with exit_codes(unreachable=(ReadTimeout,), usage=(SettingsError,)):
        settings = load(AuditSettings, os.environ)
        partitions = settings.partitions or Home(Path(settings.home)).partitions(None)
        address, urls = kafka or settings.kafka, () if without_workers else workers
        if not address or not (urls or without_workers):
            base_port = Home(Path(settings.home)).base_port(settings.base_port)
            address = address or f"127.0.0.1:{base_port + 8}"
            if not without_workers:
                urls = urls or tuple(f"http://127.0.0.1:{base_port + 16 + n}" for n in range(8))
        with click.progressbar(
            length=0, label="records read", show_percent=False, show_eta=False, show_pos=True
        ) as bar:

            def progress(records: int) -> None:
                bar.length = (bar.length or 0) + records
                bar.update(records)

            try:
                verdict = audit(address, urls, partitions, settings.slots, progress)
            except CannotJudge as error:
                fail(str(error))
    for figure, count in verdict.figures.items():
        click.echo(f"{figure}: {count}")
    for line in verdict.lines():
        click.echo(line)
    if not verdict.clean:
        raise SystemExit(FAILED)
