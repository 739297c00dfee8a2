"""`messenger status`: the whole system on one screen."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from agents.overview import read_fleet
from agents.rules.overview import findings, redis_away
from connectors.environment import SettingsError
from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.fleet import RedisFleet
from ops.asked_parts import asked_parts
from ops.exits import FAILED, UNREACHABLE, exit_codes, fail
from ops.local.home import Home
from ops.settings import settings_of
from ops.where import OperatorSettings
from ops.worker_pages import page_url
from schemas.fleet import FRESH_SECONDS, Finding, Latency, Overview, Report, Seen


@click.command()
@click.option("--json", "as_json", is_flag=True, help="all of it, as schemas/fleet.py:Overview")
@click.option(
    "--ask",
    "urls",
    multiple=True,
    metavar="URL",
    help="a worker or gateway to ask while Redis is away; the local stack's by default",
)
def command(as_json: bool, urls: tuple[str, ...]) -> None:
    """Show how every process is, and what is wrong, with what to do; exit code 1 if anything is.

    It shows what the processes say of themselves in Redis, as the overview page does. While Redis
    is away it asks them one by one. Settings: MESSENGER_REDIS; the local stack's by default.

    \b
    Example:
      messenger status
    """
    away = ""
    with exit_codes(usage=(SettingsError,)):
        settings = settings_of(OperatorSettings)
        try:
            parts = asyncio.run(_parts(settings.where().redis))
        except RedisUnavailable as error:
            away = str(error)
            asked = urls or _local(Home(Path(settings.home)))
            parts, silent = asked_parts([page_url(address) for address in asked])
            parts.sort(key=_place)
            for line in silent:
                click.echo(f"messenger: {line}", err=True)
            if not parts:
                fail(f"{away}; no process could be asked: --ask URL names a worker", UNREACHABLE)
    now = int(time.time() * 1000)
    found = findings(parts, away, now)
    if away and not any(one.part == "redis" for one in found):
        found.insert(0, redis_away(away))
    if as_json:
        click.echo(msgspec.json.encode(Overview(now, "messenger status", parts, found)))
    else:
        click.echo("\n".join(screen(parts, found, now)))
    if any(one.level == "problem" for one in found):
        raise SystemExit(FAILED)


async def _parts(redis: str) -> list[Seen]:
    """Raises RedisUnavailable."""
    client = RedisClient(redis)
    try:
        found = await read_fleet(RedisFleet(client))
    finally:
        await client.close()
    return sorted(found.values(), key=_place)


def _place(seen: Seen) -> tuple[str, str]:
    return seen.report.kind, seen.report.address


def _local(home: Home) -> list[str]:
    """Its processes that have pages."""
    addresses = (part["address"] for part in home.read_state().get("parts", {}).values())
    return [address.split()[0] for address in addresses if address.endswith(" page)")]


def screen(parts: Sequence[Seen], found: Sequence[Finding], now: int) -> Iterator[str]:
    """Its lines."""
    problems = sum(one.level == "problem" for one in found)
    yield f"{problems} problem{'s' * (problems != 1)}" if problems else "all is well"
    yield from _totals([seen.report for seen in parts if seen.age <= FRESH_SECONDS])
    yield ""
    for seen in parts:
        yield _line(seen, now)
    if found:
        yield ""
    for one in found:
        yield f"{'!' if one.level == 'problem' else '·'} {one.part}: {one.what}"
        if one.do:
            yield f"    do: {one.do}"


def _totals(fresh: Sequence[Report]) -> Iterator[str]:
    nodes = [report.node for report in fresh if report.node is not None]
    stages = [stage for report in fresh for stage in report.stages]
    owned = [partition for stage in stages for partition in stage.partitions]
    slowest = max(
        (node.delivery for node in nodes if node.delivery is not None),
        key=lambda latency: latency.p99,
        default=None,
    )
    ages = [age for one in owned if (age := (one.get("snapshot") or {}).get("age_seconds"))]
    connections = sum(node.connections for node in nodes) if nodes else "–"
    rate = sum(stage.rate for stage in stages if stage.name == "sequencer")
    yield (
        f"{rate:g} messages/s, {connections} connections, "
        f"delivery {_latency(slowest)}, {sum(one['lag'] or 0 for one in owned)} records wait, "
        f"{sum(one.get('dead_letters') or 0 for one in owned)} dead letters, "
        f"oldest snapshot {f'{max(ages) / 3600:.1f} h' if ages else 'none'}"
    )


def _line(seen: Seen, now: int) -> str:
    report, node = seen.report, seen.report.node
    up = f"up {(now - report.began) / 1000:.0f} s" if report.began else ""
    if seen.age > FRESH_SECONDS:
        state, up = "silent", f"for {seen.age:.0f} s"
    elif report.problems:
        state = "unwell"
    else:
        state = "runs" if node is None or node.ready else "not ready"
    if node is not None:
        what = f"slot {node.slot}, {node.connections} connections, {_latency(node.delivery)}"
    elif report.kind == "gateway":
        what = "no figures while Redis is away"
    else:
        count = sum(len(stage.partitions) for stage in report.stages)
        what = f"{', '.join(stage.name for stage in report.stages)}; {count} partitions"
    return f"{report.kind:<8} {report.address:<28} {state:<10} {up:<12} {what}"


def _latency(latency: Latency | None) -> str:
    return "–" if latency is None else f"p50 ≤ {latency.p50:g}, p99 ≤ {latency.p99:g} ms"
