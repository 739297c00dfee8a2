"""`messenger partition`: the partitions of all stages, and what to do about one that is halted."""

import asyncio
import getpass
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import click
from msgspec import Struct

from agents.rules import overview
from connectors.environment import SettingsError
from connectors.kafka.ports import KafkaSendError
from connectors.kafka.recovering_producer import RecoveringProducer
from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.owners import RedisOwners
from ops.exits import FAILED, exit_codes, fail
from ops.partitions import CLAIMED, Place, look
from ops.settings import settings_of
from ops.where import OperatorSettings
from ops.worker_pages import page_url
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, InputSkipped, PartitionResumed, SubmittedRecord
from schemas.topics import SUBMITTED

_DECIDED_SECONDS = 30.0
_SEND_MS = 10_000


class _Fleet(Struct, frozen=True):
    """Where to ask."""

    kafka: str
    redis: str
    partitions: int
    workers: tuple[str, ...]

    async def places(self) -> list[Place]:
        """Raises RedisUnavailable."""
        redis = RedisClient(self.redis)
        try:
            owners = {stage: RedisOwners(redis, stage) for stage in CLAIMED}
            return await look(owners, self.partitions, self.workers)
        finally:
            await redis.close()

    async def place(self, stage: str, number: int) -> Place:
        """Raises RedisUnavailable; ends the command if there is no such partition."""
        for place in await self.places():
            if (place.stage, place.number) == (stage, number):
                break
        else:
            fail(f"there is no partition {number} of {stage}; see `messenger partition list`")
        return place


_worker = click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="HOST:PORT",
    help="also ask this worker, which may claim no partition: an archiver, or one with nothing but "
    "halted partitions",
)
_reason = click.option("--reason", required=True, help="why; it stays in the log for ever")
_who = click.option(
    "--as", "who", default=getpass.getuser, show_default="the login name", help="who decides"
)
_stage = click.argument("stage")
_number = click.argument("number", type=click.IntRange(0))


@click.group()
def command() -> None:
    """The partitions of all stages, and what to do about one that is halted.

    Settings: MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_PARTITIONS; the local stack's by default.

    \b
    Example:
      messenger partition list
      messenger partition skip sequencer 3 --reason "bug 123, the devices send again"
    """


@command.command("list")
@_worker
@click.option("--halted", is_flag=True, help="only those that do not run")
@click.option("--json", "as_json", is_flag=True, help="a JSON line each")
def list_(workers: tuple[str, ...], halted: bool, as_json: bool) -> None:
    """List partitions with their state and lag; exit code 1 unless all run. Example: messenger
    partition list --halted"""
    places = _ask(workers, lambda fleet: fleet.places())
    for place in places:
        if not halted or place.state != "running":
            _show_line(place, as_json)
    if any(place.state != "running" for place in places):
        raise SystemExit(FAILED)


@command.command()
@_stage
@_number
@_worker
def status(stage: str, number: int, workers: tuple[str, ...]) -> None:
    """Show all that is known of partition NUMBER of STAGE, and what can be done. Example: messenger
    partition status sequencer 0"""
    place = _ask(workers, lambda fleet: fleet.place(stage, number))
    for name, value in place.report.items():
        click.echo(f"{name:<22} {value}")
    if place.state != "running":
        click.echo(f"{'do':<22} {advice(place)}")
        raise SystemExit(FAILED)


@command.command()
@_stage
@_number
@_worker
@_reason
@_who
@click.option("--yes", is_flag=True, help="do it; else it is only said")
def skip(
    stage: str, number: int, workers: tuple[str, ...], reason: str, who: str, yes: bool
) -> None:
    """Set aside, for good, the input records that halt partition NUMBER of the sequencer.

    Records that are still there become dead letters. None of their messages gets a number from
    them; a device that has had no answer sends its messages again. Records that have expired are
    given up.

    Example: messenger partition skip sequencer 3 --reason "bug 123" --yes
    """

    async def decide(fleet: _Fleet) -> None:
        place = await _halted(fleet, stage, number)
        if place.skips is None:
            fail(f"nothing of its input may be set aside: {place.report['reason']}")
        first, last = place.skips
        what = f"input offsets {first} to {last} of partition {number}"
        if not yes:
            click.echo(f"would set aside {what}; --yes does it")
            return
        event = InputSkipped(first, last, who, reason, int(time.time() * 1000))
        await _decide(fleet, place, event)
        click.echo(f"set aside: {what}")

    _ask(workers, decide)


@command.command()
@_stage
@_number
@_worker
@_reason
@_who
def resume(stage: str, number: int, workers: tuple[str, ...], reason: str, who: str) -> None:
    """Let halted partition NUMBER of the sequencer try again, after its cause was mended. Example:
    messenger partition resume sequencer 3 --reason "the clocks are right again\""""

    async def decide(fleet: _Fleet) -> None:
        place = await _halted(fleet, stage, number)
        await _decide(fleet, place, PartitionResumed(who, reason, int(time.time() * 1000)))
        click.echo(f"partition {number} goes on")

    _ask(workers, decide)


def advice(place: Place) -> str:
    """What an operator can do about a partition that does not run."""
    if place.state == "unknown":
        return f"{place.problem}: look at its worker"
    return overview.advice(place.stage, place.report)


async def _halted(fleet: _Fleet, stage: str, number: int) -> Place:
    """The partition. Ends the command unless it is halted and of the sequencer."""
    if stage != "sequencer":
        known = stage in CLAIMED or stage.startswith(("archiver", "notifier", "webhook"))
        fail(
            f"partitions of {stage} take no decisions: mend what halts it, and restart its worker"
            if known
            else f"there is no stage {stage}"
        )
    place = await fleet.place(stage, number)
    if place.state != "halted":
        fail(f"partition {number} is not halted, but {place.state}")
    return place


async def _decide(fleet: _Fleet, place: Place, event: InputSkipped | PartitionResumed) -> None:
    """Write a decision to the partition's input, and wait until it is not halted as before."""
    producer = RecoveringProducer(fleet.kafka, {"message.timeout.ms": _SEND_MS})
    try:
        value = encode_event(SubmittedRecord(SCHEMA_VERSION, [event]))
        await producer.send_and_wait(SUBMITTED, place.number, value)
    finally:
        await producer.close(0)
    until = time.monotonic() + _DECIDED_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        now = await fleet.place(place.stage, place.number)
        if now.state == "running":
            return
    fail(
        f"the decision is written, but the partition is {now.state}: "
        f"{now.report.get('reason') or now.problem}"
    )


def _ask(workers: tuple[str, ...], work: Callable[[_Fleet], Awaitable[Any]]) -> Any:
    with exit_codes(unreachable=(RedisUnavailable, KafkaSendError), usage=(SettingsError,)):
        for worker in workers:
            page_url(worker)  # raises what is wrong with it
        where = settings_of(OperatorSettings).where()
        if where.base_port is not None:  # the archiver of a local stack, which claims nothing
            workers += (f"127.0.0.1:{where.base_port + 13}",)
        fleet = _Fleet(where.kafka, where.redis, where.partitions, workers)

        async def run() -> Any:
            return await work(fleet)

        return asyncio.run(run())


def _show_line(place: Place, as_json: bool) -> None:
    why = place.report.get("reason") or place.report.get("waiting_for") or place.problem
    lag = place.report.get("lag")
    if as_json:
        shown = {"stage": place.stage, "partition": place.number, "worker": place.worker}
        shown |= {"state": place.state, "lag": lag, "why": why}
        shown["do"] = advice(place) if place.state != "running" else ""
        click.echo(json.dumps(shown))
        return
    known = "" if lag is None else f"lag {lag}"
    click.echo(f"{place.stage:<18} {place.number:>4}  {place.state:<10} {known:<12} {place.worker}")
    if why:
        click.echo(f"{'':<24}{why}")
    if place.state != "running":
        click.echo(f"{'':<24}do: {advice(place)}")
