"""The archive: an archiver catches up with a full log; readers read pages out of many rows."""

import asyncio
import json
import os
import random
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from bench.curve import percentiles
from bench.processes import cpu_seconds, peak_mib
from bench.system import Checkout, System, system
from bench.worker import Worker, worker
from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.kafka.ports import QueueFull
from connectors.kafka.producer import KafkaProducer
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, LogRecord, Taken
from schemas.ids import conversation_of, partition_of, user_id
from schemas.topics import LOG

_PARTITIONS = 4
_RECORD_MESSAGES = 100
_CONVERSATIONS = 5_000
_PAGE = 50
_SIX_MONTHS = 1_735_689_600_000, 180 * 24 * 3600 * 1000
_EVERYDAY = (
    "a about all am and are at be been but call can come could day do for from get go good got "
    "had has have he her here him home how i if in is it just know late let like lunch maybe me "
    "meet message more my need new no not now of ok on one or our out please really see she "
    "should so some soon sorry sure take tell thanks that the them then there they think this "
    "time to today tomorrow tonight train up us want was we well were what when where which "
    "will with work would yes you your"
)
_WORDS = _EVERYDAY.split()


def measure(checkout: Checkout, messages: int, rows: int, seconds: float) -> dict[str, Any]:
    """Archive `messages` from the log. Then read pages out of `rows` more rows, with 1 and with 8
    readers, for `seconds` each."""
    with system(checkout, workers=0, gateways=0, archivers=0) as stack:
        asyncio.run(_fill_log(stack.kafka, messages))
        results = _catch_up(checkout, stack, messages)
        admin = ArchiveAdmin(stack.clickhouse("admin"))
        began = time.monotonic()
        _fill_archive(admin, rows)
        results["rows_in_archive"] = admin.query("SELECT count() FROM archive.messages")[0][0]
        results["fill_seconds"] = round(time.monotonic() - began, 1)
        admin.close()
        results["pages"] = {
            f"{readers}_at_once": asyncio.run(
                _read(stack.clickhouse("gateway"), rows, readers, seconds)
            )
            for readers in (1, 8)
        }
        return results


def _catch_up(checkout: Checkout, stack: System, messages: int) -> dict[str, Any]:
    before, archive = stack.cpu(), {"MESSENGER_CLICKHOUSE": stack.clickhouse("archiver")}
    with worker(checkout, stack, "archiver", stack.base_port + 13, archive) as archiver:
        began, first, page = _run(stack, archiver, messages)
        used, elapsed = cpu_seconds(archiver.pid) - began[1], time.monotonic() - began[0]
        after, peak = stack.cpu(), peak_mib(archiver.pid)
    admin = ArchiveAdmin(stack.clickhouse("admin"))
    counts = admin.counts()
    stored = sum(month.bytes for month in admin.months() if month.table == "messages")
    admin.close()
    return {
        "messages": messages,
        "rows": counts[0],
        "rows_per_archiver_cpu_second": round((messages - first) / used),
        "rows_per_second": round((messages - first) / elapsed),
        "rows_per_insert": page["rows_per_insert"],
        "archiver_peak_mib": peak,
        "clickhouse_us_per_row": round(
            (after["clickhouse"] - before["clickhouse"]) / messages * 1e6, 1
        ),
        "bytes_per_message": round(stored / counts[1], 1),
    }


def _run(
    stack: System, worker: Worker, messages: int
) -> tuple[tuple[float, float], int, dict[str, Any]]:
    """Wait until everything is archived. Returns (time, CPU seconds) when the first rows were seen,
    how many rows that were, and the archiver's page at the end."""
    began: tuple[float, float] | None = None
    first = 0
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.1)
        worker.require()
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{stack.base_port + 13}/archiver/", timeout=5
            ) as answer:
                page = json.load(answer)["messages"]
        except OSError:
            continue
        if began is None and page["rows"]:
            began, first = (time.monotonic(), cpu_seconds(worker.pid)), page["rows"]
        if began is not None and page["rows"] >= messages:
            return began, first, page
    raise TimeoutError("the archiver did not finish within 300 s")


async def _fill_log(kafka: str, messages: int) -> None:
    """Write log records as the sequencer does under load: bodies of everyday words, one day."""
    names = [
        conversation_of(user_id(f"alice{n}"), user_id(f"bob{n}")) for n in range(_CONVERSATIONS)
    ]
    places = [partition_of(name, _PARTITIONS) for name in names]
    seqs = [0] * len(names)
    offsets = [0] * _PARTITIONS
    taken: list[list[Taken]] = [[] for _ in range(_PARTITIONS)]
    start = int(time.time() * 1000) - 24 * 3600 * 1000
    producer = KafkaProducer(kafka, {"linger.ms": 5, "batch.size": 1024 * 1024}, on_fatal=print)

    async def flush(partition: int) -> None:
        items, taken[partition] = taken[partition], []
        if not items:
            return
        value = encode_event(
            LogRecord(
                SCHEMA_VERSION,
                1,
                items[0].offset,
                items[-1].offset,
                items[-1].time,
                -1,
                items[-1].time,
                0,
                items,
            )
        )
        while True:
            try:
                producer.send(LOG, partition, value)
                return
            except QueueFull:
                await asyncio.sleep(0.05)

    chance = random.Random(1)
    for number in range(messages):
        # a quarter of the messages is in fifty busy conversations
        n = (number * 7919) % len(names) if number % 4 else (number // 4) % 50
        seqs[n] += 1
        partition = places[n]
        taken[partition].append(
            Taken(
                *(
                    offsets[partition],
                    start + number // 50,
                    names[n],
                    f"alice{n}",
                    "phone-1",
                    b"o" * 16,
                    seqs[n],
                ),
                *(
                    os.urandom(16),
                    seqs[n],
                    0,
                    " ".join(chance.choices(_WORDS, k=chance.randrange(4, 28))),
                ),
            )
        )
        offsets[partition] += 1
        if len(taken[partition]) == _RECORD_MESSAGES:
            await flush(partition)
    for partition in range(_PARTITIONS):
        await flush(partition)
    await producer.close(60.0)


def _sizes(rows: int) -> tuple[int, int]:
    """(number of big conversations, messages in each). Half of all rows are in big conversations,
    half in conversations of 100 messages."""
    big = max(1, min(20, rows // 2_000))
    return big, rows // 2 // big


def _fill_archive(admin: ArchiveAdmin, rows: int) -> None:
    """Make rows of six months."""
    big, each = _sizes(rows)
    small = rows - big * each
    parts = [(each, f"'big{n}:zed'", "number + 1") for n in range(big)]
    parts.append(
        (small, "concat('small', toString(intDiv(number, 100)), ':zed')", "number % 100 + 1")
    )
    for count, conversation, seq in parts:
        time = f"{_SIX_MONTHS[0]} + intDiv(number * {_SIX_MONTHS[1]}, {max(1, count)})"
        insert(admin, count, conversation, seq, time)


def insert(
    admin: ArchiveAdmin, rows: int, conversation: str, seq: str, time: str, sender: str = "'zed'"
) -> None:
    """Let ClickHouse itself make rows that no log has. The texts are SQL of `number`, which goes
    from 0 to `rows` - 1; `time` is in ms."""
    words = ", ".join(f"'{word}'" for word in _WORDS)
    admin.run(
        "INSERT INTO archive.messages SELECT "
        f"{conversation}, {seq}, "
        f"toFixedString(unhex(hex(sipHash128(number, rand()))), 16), {sender}, 'phone-1', "
        "arrayStringConcat(arrayMap("
        f"i -> [{words}][cityHash64(number, i) % {len(_WORDS)} + 1], "
        "range(4 + cityHash64(number) % 24)), ' '), "
        f"fromUnixTimestamp64Milli(toInt64({time}), 'UTC'), 0, 0, number, 0 "
        f"FROM numbers({rows}) SETTINGS max_partitions_per_insert_block = 0"
    )


async def _read(url: str, rows: int, readers: int, seconds: float) -> dict[str, Any]:
    """Read pages, half of them in big conversations."""
    big, each = _sizes(rows)
    small = (rows - big * each) // 100

    def place(turn: int, mixed: int) -> tuple[str, int]:
        if turn % 2:
            return f"big{mixed % big}:zed", each
        return f"small{mixed % max(1, small)}:zed", 100

    return await read(url, place, readers, seconds)


async def read(
    url: str, place: Callable[[int, int], tuple[str, int]], readers: int, seconds: float
) -> dict[str, Any]:
    """Read pages of 50 from somewhere in a conversation; no page may have a hole. `place` gives a
    conversation and its last seq for the number of a page and a random number."""
    archive = ClickHouseArchive(ClickHouseClient(url, 30))
    until = time.monotonic() + seconds
    took: list[float] = []

    async def reader(turn: int) -> None:
        while time.monotonic() < until:
            turn += readers
            mixed = turn * 2654435761 % 2**32
            name, last = place(turn, mixed)
            before = mixed % max(1, last - _PAGE) + _PAGE + 1
            began = time.monotonic()
            page = await archive.page(name, before=before, limit=_PAGE)
            took.append(time.monotonic() - began)
            assert [message.seq for message in page] == list(
                range(before - 1, before - 1 - _PAGE, -1)
            ), (name, before)

    await archive.last_seq("big0:zed")
    began = time.monotonic()
    await asyncio.gather(*(reader(number) for number in range(readers)))
    elapsed = time.monotonic() - began
    await archive.close()
    return {"pages_per_second": round(len(took) / elapsed), "ms": percentiles(took)}
