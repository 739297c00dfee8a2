"""`messenger dead-letters`: what the sequencer could not read, an operator has set aside, or an
endpoint did not take."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
from msgspec.structs import asdict

from connectors.environment import SettingsError
from connectors.kafka.ports import KafkaSendError, KafkaUnreachable, OffsetGone, ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.recovering_producer import RecoveringProducer
from ops.exits import exit_codes, fail
from ops.settings import settings_of
from ops.where import OperatorSettings, Where
from schemas.codec import NewerVersion, Undecodable, decode_dead_letter, decode_notification
from schemas.codes import Code
from schemas.events import DeadLetter
from schemas.submitted_codec import SetAside, decode_submitted
from schemas.topics import DEAD_LETTERS, NOTIFICATIONS, SUBMITTED

_ANSWER_SECONDS = 10.0
_SEND_MS = 10_000
_AGAIN = {Code.SET_ASIDE.number: SUBMITTED, Code.NOT_TAKEN.number: NOTIFICATIONS}
"""Code → the topic to which such a record may go again."""
_PLACE = click.argument("place", metavar="PARTITION/OFFSET")


class Letter(NamedTuple):
    """A dead letter, and where in `dead-letters` it lies. `time` in ms."""

    partition: int
    offset: int
    time: int
    letter: DeadLetter

    def summary(self) -> dict[str, Any]:
        """All but what the record holds."""
        letter, code = self.letter, Code.of(self.letter.code)
        index = "" if letter.index < 0 else f", item {letter.index}"
        return {
            "place": f"{self.partition}/{self.offset}",
            "time": datetime.fromtimestamp(self.time / 1000, UTC).isoformat("T", "seconds"),
            "from": f"{letter.topic}/{letter.partition} offset {letter.offset}{index}",
            "code": letter.code,
            "why": code.text if code is not None else "a code of a newer version",
            "bytes": len(letter.value),
        }


@click.group()
def command() -> None:
    """Records that the sequencer could not read or that an operator has set aside, and
    notifications that an endpoint did not take.

    Kafka keeps them for 30 days. Settings: MESSENGER_KAFKA, MESSENGER_PARTITIONS; the local stack's
    by default.

    \b
    Example:
      messenger dead-letters list
      messenger dead-letters show 3/17
      messenger dead-letters replay 3/17 --yes
    """


@command.command("list")
@click.option("--partition", type=click.IntRange(0), help="only of this one")
@click.option("--most", default=50, show_default=True, help="the newest so many of a partition")
@click.option("--json", "as_json", is_flag=True, help="a JSON line each")
def list_(partition: int | None, most: int, as_json: bool) -> None:
    """List them, the oldest first; a repeat has the same `from`. Example: messenger dead-letters
    list --most 10"""
    with _reading() as (where, reader):
        count = 0
        for number in range(where.partitions) if partition is None else (partition,):
            start, end = reader.watermarks(DEAD_LETTERS, number)
            for found in _read(reader, number, max(start, end - most), end):
                count += 1
                said = found.summary()
                click.echo(
                    json.dumps(said)
                    if as_json
                    else f"{said['place']:<8} {said['time']}  {said['from']}  {said['bytes']} bytes"
                    f"  {said['code']} {said['why']}"
                )
    if not count and not as_json:
        click.echo("there are no dead letters")


@command.command()
@_PLACE
@click.option("--bodies", is_flag=True, help="with what people wrote")
def show(place: str, bodies: bool) -> None:
    """Show one, with what can be read of it. Example: messenger dead-letters show 3/17"""
    with _reading() as (_, reader):
        found = _one(reader, place)
    for name, value in found.summary().items():
        click.echo(f"{name:<6} {value}")
    try:
        items = _items(found.letter)
    except (Undecodable, NewerVersion) as error:
        click.echo(f"it cannot be read: {error}")
        click.echo(found.letter.value[:200].hex(" ", 4))
        return
    for item in items:
        fields = item._asdict() if isinstance(item, SetAside) else asdict(item)
        shown = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in fields.items()
            if bodies or name not in ("body", "value", "text")
        }
        click.echo(f"{type(item).__name__} {shown}")


@command.command()
@_PLACE
@click.option("--yes", is_flag=True, help="do it; else it is only said")
def replay(place: str, yes: bool) -> None:
    """Submit again a record that was set aside (code 118), for example after a deployment that can
    fold it, or a notification (code 160), once the endpoint is well.

    What its devices have sent again meanwhile has a number, and gets its first answer again; a
    message that is not the next one of its outbox is refused as ever. So nothing comes twice or out
    of order, and to replay twice changes nothing. A notification has the id that it had. Of other
    codes the record would be refused again.

    Example: messenger dead-letters replay 3/17 --yes
    """
    with _reading() as (where, reader):
        letter = _one(reader, place).letter
        if _AGAIN.get(letter.code) != letter.topic:
            codes = " and ".join(map(str, _AGAIN))
            fail(f"it would be refused again: only codes {codes} can be replayed")
        if not yes:
            click.echo(f"would submit {len(letter.value)} bytes again; --yes does it")
            return
        asyncio.run(_submit(where.kafka, letter))
        click.echo(f"submitted again to {letter.topic}/{letter.partition}")


def _items(letter: DeadLetter) -> Sequence[Any]:
    """What the record holds. Raises Undecodable, NewerVersion."""
    if letter.topic == NOTIFICATIONS:
        return [decode_notification(letter.value).notification]
    return decode_submitted(letter.value)


async def _submit(kafka: str, letter: DeadLetter) -> None:
    producer = RecoveringProducer(kafka, {"message.timeout.ms": _SEND_MS})
    try:
        await producer.send_and_wait(letter.topic, letter.partition, letter.value)
    finally:
        await producer.close(0)


@contextlib.contextmanager
def _reading() -> Iterator[tuple[Where, Reader]]:
    unreachable = KafkaUnreachable, ReadTimeout, KafkaSendError
    with exit_codes(unreachable=unreachable, usage=(SettingsError,)):
        where = settings_of(OperatorSettings).where()
        with contextlib.closing(Reader(where.kafka, _ANSWER_SECONDS)) as reader:
            yield where, reader


def _one(reader: Reader, place: str) -> Letter:
    """The letter at PARTITION/OFFSET. Ends the command if there is none."""
    partition, _, offset = place.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        fail(f"{place} is not PARTITION/OFFSET, as `messenger dead-letters list` prints it")
    number, at = int(partition), int(offset)
    start, end = reader.watermarks(DEAD_LETTERS, number)
    found = next(_read(reader, number, at, at + 1), None) if start <= at < end else None
    if found is None:
        fail(f"there is no dead letter {place}")
    return found


def _read(reader: Reader, partition: int, start: int, end: int) -> Iterator[Letter]:
    """Those that this version can read."""
    try:
        for record in reader.read(DEAD_LETTERS, partition, start, end):
            with contextlib.suppress(Undecodable, NewerVersion):
                letter = decode_dead_letter(record.value)
                yield Letter(partition, record.offset, record.timestamp, letter)
    except OffsetGone:
        fail(f"partition {partition} has lost its head meanwhile; try again")
