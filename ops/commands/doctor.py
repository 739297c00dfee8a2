"""`messenger doctor`: looks at everything that must be right, and says how to mend what is not."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import click
from msgspec import Meta

from agents.overview import read_fleet
from connectors.environment import SettingsError
from connectors.kafka.wanted_topics import Flush, Replication, WantedTopics
from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.fleet import RedisFleet
from connectors.redis.survey import RedisSurvey
from ops import doctor
from ops.doctor import Found
from ops.exits import FAILED, exit_codes
from ops.local.home import DEFAULT_BASE_PORT, Home
from ops.local.parts import clickhouse_url, usual_ports
from ops.local.process import is_running
from ops.settings import settings_of
from ops.where import OperatorSettings
from schemas.fleet import Seen


class DoctorSettings(OperatorSettings, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md)."""

    clickhouse_admin: str = ""
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 8
    replication: Replication | None = None
    flush: Flush = "later"
    state_dir: str = ""


@click.command()
def command() -> None:
    """Look at settings, versions, disk, ports, topics, replication, Redis, archive, clocks and
    processes; say how to mend what is wrong. Exit code 1 if anything is.

    It changes nothing. Give it the settings of the process that does not start. Without any it
    looks at the local stack.

    \b
    Example:
      messenger doctor
      MESSENGER_KAFKA=kafka:9092 MESSENGER_REDIS=redis://redis:6379/0 messenger doctor
    """
    with exit_codes(usage=(SettingsError,)):
        settings = settings_of(DoctorSettings)
        wrong = 0
        for found in _look(settings):
            wrong += bool(found.do)
            click.echo(f"{'FIX' if found.do else 'ok':<4} {found.part:<14} {found.what}")
            if found.do:
                click.echo(f"{'':<19} do: {found.do}")
    if wrong:
        raise SystemExit(FAILED)


def _look(settings: DoctorSettings) -> Iterator[Found]:
    """Raises SettingsError."""
    home = Home(Path(settings.home))
    state = home.read_state()
    local = not (settings.kafka and settings.redis)
    runs = is_running(state.get("pid"), state.get("started"))
    yield from doctor.versions()
    yield from doctor.disk(Path(settings.state_dir or settings.home).resolve())
    if local and not runs:
        yield from doctor.ports(usual_ports(settings.base_port or DEFAULT_BASE_PORT))
        do = "`make run`, or set MESSENGER_KAFKA and MESSENGER_REDIS"
        yield Found("settings", f"no local stack runs in {home.folder}", do)
        return
    where = settings.where()
    yield Found("settings", f"{where.partitions} partitions, {settings.slots} slots")
    kept = WantedTopics(
        where.partitions,
        settings.slots,
        home.brokers(None) if local else settings.replication,
        settings.flush == "always",
    )
    yield from doctor.kafka(where.kafka, kept)
    yield from _redis(where.redis)
    if settings.clickhouse_admin:
        yield from doctor.archive(settings.clickhouse_admin)
    elif where.base_port is not None and "clickhouse" in state.get("parts", {}):
        yield from doctor.archive(clickhouse_url(home, where.base_port, "admin"))
    else:
        yield Found("archive", "not looked at: MESSENGER_CLICKHOUSE_ADMIN is not set")


def _redis(url: str) -> Iterator[Found]:
    try:
        server, clock, parts = asyncio.run(_ask(url))
    except RedisUnavailable as error:
        yield Found("redis", str(error), "start it, or correct MESSENGER_REDIS")
        return
    yield from doctor.redis(server, clock)
    yield from doctor.processes(parts, int(time.time() * 1000))


async def _ask(url: str) -> tuple[dict[str, str], float, list[Seen]]:
    """What INFO says, Redis' time, and what all processes say. Raises RedisUnavailable."""
    client = RedisClient(url)
    try:
        survey = RedisSurvey(client)
        server, clock = await survey.server(), await survey.clock()
        return server, clock, list((await read_fleet(RedisFleet(client))).values())
    finally:
        await client.close()
