"""`messenger snapshot`: the snapshots of the sequencer's state."""

import contextlib
import http.client
import json
import time
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import click
from msgspec import Meta, Struct

from agents.rules.position import FoundLog
from agents.sequencer.snapshot_reading import Place, find_chunks, find_snapshots
from connectors.environment import SettingsError
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable, ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics
from ops.exits import FAILED, exit_codes, fail
from ops.local.home import DEFAULT_HOME, Home
from ops.local.security import kafka_address
from ops.settings import settings_of
from ops.worker_pages import ask, page_url
from schemas.topics import CHUNKS, LOG

_WRITE_SECONDS = 24 * 3600.0
"""A snapshot of some GB takes an hour, and others of the worker may come first."""


class SnapshotSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md). Of a local stack, what is
    unset."""

    kafka: str = ""
    home: str = DEFAULT_HOME
    base_port: int | None = None
    partitions: Annotated[int, Meta(ge=1)] | None = None

    @property
    def count(self) -> int:
        """Of partitions."""
        return self.partitions or Home(Path(self.home)).partitions(None)

    @property
    def kafka_address(self) -> str:
        return self.kafka or kafka_address(Home(Path(self.home)), self.port(0))

    def port(self, above: int) -> int:
        """A port of the local stack."""
        return Home(Path(self.home)).base_port(self.base_port) + above


@click.group()
def command() -> None:
    """List the snapshots of the sequencer's partitions, or write them now.

    \b
    Example:
      messenger snapshot list
      messenger snapshot write --partition 3
    """


@command.command("list")
def list_() -> None:
    """List the snapshots in Kafka; exit code 1 if a partition has none that can be used.

    Example: MESSENGER_KAFKA=kafka:9092 MESSENGER_PARTITIONS=64 messenger snapshot list
    """
    with exit_codes(unreachable=(ReadTimeout, KafkaUnreachable), usage=(SettingsError,)):
        settings = settings_of(SnapshotSettings)
        servers = settings.kafka_address
        ids = TopicsAdmin(servers, WantedTopics(settings.count, 1)).ids()
        if LOG not in ids or CHUNKS not in ids:
            fail(f"there is no topic {LOG} or {CHUNKS}; `messenger topics create` makes them")
        lacking = 0
        with contextlib.closing(Reader(servers, 10.0)) as reader:
            for partition in range(settings.count):
                lacking += not _list(reader, Place(partition, settings.count), ids)
    if lacking:
        raise SystemExit(FAILED)


def _list(reader: Reader, place: Place, ids: dict[str, str]) -> bool:
    """Print the snapshots of a partition. Returns whether one can be used."""
    start, end = reader.watermarks(LOG, place.partition)
    chunks = find_chunks(reader, place.partition, ids[CHUNKS])
    usable, refused = find_snapshots(reader, place, FoundLog(ids[LOG], start, end, None), chunks)
    name = f"partition {place.partition}"
    for one in usable:
        record = one.record
        hours = (time.time() - record.written / 1000) / 3600
        click.echo(
            f"{name}: log offset {record.log_offset} of {start} to {end}, {hours:.1f} hours old,"
            f" {record.rows:,} rows, {record.bytes:,} bytes, {len(record.chunks)} chunks:"
            f" {record.id}"
        )
    for id_, why in refused.items():
        click.echo(f"{name}: cannot be used: {id_}: {why}")
    if not usable:
        click.echo(f"{name}: no snapshot for the log from offset {start} to {end}")
    return bool(usable)


@command.command()
@click.option("--partition", type=int, help="only this one; all by default")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="URL",
    help="a worker's monitor; the local stack's by default",
)
def write(partition: int | None, workers: tuple[str, ...]) -> None:
    """Write snapshots now, one partition after the other, and wait until they are whole.

    Example: messenger snapshot write --worker http://worker-1:6066 --worker http://worker-2:6066
    """
    with exit_codes(usage=(SettingsError,)):
        settings = settings_of(SnapshotSettings)
        addresses = workers or [f"127.0.0.1:{settings.port(16 + number)}" for number in range(8)]
        urls = [page_url(address) for address in addresses]
        failed = 0
        for number in range(settings.count) if partition is None else (partition,):
            answer = _ask(urls, number)
            failed += "error" in answer
            click.echo(f"partition {number}: " + ", ".join(f"{k} {v}" for k, v in answer.items()))
    if failed:
        raise SystemExit(FAILED)


def _ask(workers: Sequence[str], partition: int) -> dict[str, Any]:
    """What the worker says that has the partition."""
    for worker in workers:
        url = f"{worker}/sequencer/snapshot/{partition}/"
        try:
            with ask(url, _WRITE_SECONDS, b"") as answer:
                written: dict[str, Any] = json.load(answer)
                return written
        except urllib.error.HTTPError as error:
            if error.code != http.client.NOT_FOUND:
                failed: dict[str, Any] = json.load(error)
                return failed
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
            continue
    return {"error": "no worker that answers has it"}
