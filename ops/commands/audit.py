"""`messenger audit`: the judge."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import click
from msgspec import Meta, Struct

from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.environment import SettingsError
from connectors.kafka.ports import KafkaUnreachable, ReadTimeout
from connectors.redis.client import RedisUnavailable
from ops.audit.audit import Audit, Sources, Terms
from ops.audit.checkpoint import CheckpointRefused
from ops.audit.partition_state import CannotJudge
from ops.audit.verdict import Verdict
from ops.exits import CANNOT_JUDGE, FAILED
from ops.local.home import DEFAULT_HOME, Home
from ops.local.parts import clickhouse_url
from ops.local.security import kafka_address, redis_address
from ops.settings import settings_of
from ops.worker_pages import page_url

_AWAY = (ReadTimeout, KafkaUnreachable, RedisUnavailable, ArchiveUnavailable)
_CANNOT = (SettingsError, CannotJudge, CheckpointRefused, ArchiveRefused, ValueError, OSError)


class AuditSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md). Of a local stack, what is
    unset."""

    kafka: str = ""
    redis: str = ""
    clickhouse: str = ""
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
@click.option("--without-redis", is_flag=True, help="do not judge windows and routes")
@click.option("--without-archive", is_flag=True, help="do not judge ClickHouse")
@click.option(
    "--rate",
    default=0,
    metavar="N",
    type=click.IntRange(0),
    help="read at most N records a second  [as many as there are]",
)
@click.option(
    "--wait",
    default=30.0,
    show_default=True,
    help="seconds that a hole may need to close, a worker to answer, the archive to come",
)
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="go on from this file, if it is there, and keep there how far the judge has come",
)
@click.option("--follow", is_flag=True, help="go on until Ctrl-C or SIGTERM")
@click.option(
    "--every", default=60.0, show_default=True, help="with --follow: seconds between two passes"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON, a line for each finding")
def command(
    checkpoint: Path | None,
    follow: bool,
    every: float,
    as_json: bool,
    rate: int,
    wait: float,
    **where: Any,
) -> None:
    """Judge the input, the log, the retained deliveries, the workers' counters, Redis and the
    archive (docs/AUDIT.md), also under load.

    Says "dense, once, in order, equal everywhere" (exit code 0), or has a line for each finding, in
    Jepsen's words, with topic, partition, offset, conversation and number (1). Code 2 if it cannot
    judge: something does not answer, is gone, or is of newer code.

    \b
    Example:
      messenger audit
      messenger audit --kafka kafka:9092 --worker http://worker-1:6066 --worker http://worker-2:6066
      messenger audit --follow --every 60 --rate 5000 --checkpoint /var/lib/messenger/audit
    """
    verdict = Verdict()
    try:
        terms = Terms(rate, wait, in_turn=follow)
        with Audit(_sources(**where), terms, verdict, checkpoint) as audit:
            if follow:
                _follow(audit, verdict, every, as_json)
            else:
                _once(audit, verdict, as_json)
    except (*_CANNOT, *_AWAY) as error:
        if verdict.findings:
            _tell(verdict, as_json)
        click.echo(f"messenger: {error}", err=True)
        raise SystemExit(CANNOT_JUDGE if verdict.clean else FAILED) from None
    if not verdict.clean:
        raise SystemExit(FAILED)


def _sources(
    kafka: str | None,
    workers: tuple[str, ...],
    without_workers: bool,
    without_redis: bool,
    without_archive: bool,
) -> Sources:
    """What the options and settings name. Of a local stack, what they do not name. Raises
    SettingsError."""
    settings = settings_of(AuditSettings)
    home = Home(Path(settings.home))
    partitions = settings.partitions or home.partitions(None)
    address, urls = (
        kafka or settings.kafka,
        () if without_workers else tuple(map(page_url, workers)),
    )
    redis, archive = settings.redis, settings.clickhouse
    if not address or not (urls or without_workers):
        base_port = home.base_port(settings.base_port)
        address = address or kafka_address(home, base_port)
        if not without_workers:
            urls = urls or tuple(page_url(f"127.0.0.1:{base_port + 16 + n}") for n in range(8))
    state = home.read_state()
    if (base := state.get("base_port")) and address == kafka_address(home, base):
        redis = redis or redis_address(home, base)
        if "clickhouse" in state.get("parts", {}):
            archive = archive or clickhouse_url(home, base, "gateway")
    return Sources(
        address,
        partitions,
        settings.slots,
        urls,
        "" if without_redis else redis,
        "" if without_archive else archive,
    )


def _once(audit: Audit, verdict: Verdict, as_json: bool) -> None:
    measured = _measure(audit, verdict)
    while not audit.read_on():
        audit.save()
    audit.finish()
    audit.save()
    measured()
    _tell(verdict, as_json)


def _follow(audit: Audit, verdict: Verdict, every: float, as_json: bool) -> None:
    """Pass after pass. What is away is waited for."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        while True:
            began = time.monotonic()
            measured = _measure(audit, verdict)
            try:
                while not audit.read_on():
                    audit.save()
                audit.save()
            except _AWAY as error:
                click.echo(f"messenger: not judged now: {error}", err=True)
            measured()
            _tell(verdict, as_json)
            time.sleep(max(0.0, began + every - time.monotonic()))
    except KeyboardInterrupt:
        return


def _measure(audit: Audit, verdict: Verdict) -> Callable[[], None]:
    """Call what it returns when the pass has ended."""
    began, cpu, records = time.monotonic(), time.process_time(), audit.pace.records

    def measured() -> None:
        seconds = time.monotonic() - began
        figures, read = verdict.figures, audit.pace.records - records
        figures["records read"] = read
        figures["records a second"] = round(read / max(seconds, 0.001))
        figures["CPU ms"] = round((time.process_time() - cpu) * 1000)

    return measured


def _tell(verdict: Verdict, as_json: bool) -> None:
    """Print what has been found since the last call, and the figures."""
    if as_json:
        for finding in verdict.findings:
            click.echo(json.dumps(finding.fields()))
        verdict.take()
        whole = {
            "clean": verdict.clean,
            "findings": dict(verdict.counts),
            "figures": dict(verdict.figures),
        }
        click.echo(json.dumps(whole))
        return
    for figure, count in verdict.figures.items():
        click.echo(f"{figure}: {count}")
    for line in verdict.lines():
        click.echo(line)
