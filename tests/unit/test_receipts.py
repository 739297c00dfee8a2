"""Receipts on their way to Kafka: whatever Kafka does not take, in whatever order it comes, the
cursors are right in the end."""

import asyncio
import random
from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from agents.rules.cursors import NONE, Cursor, CursorId, Outcome, fold_receipts
from gateway.receipts import COLLECT_SECONDS, Receipts
from schemas.codec import decode_receipts
from schemas.events import READ, RECEIVED, DeviceForgotten, Receipt
from tests.harness.slow_kafka import Sent, SlowKafka, fail
from tests.harness.virtual import run, virtual_time

A = "alice:bob"


class Cursors:
    """What the worker makes of the topic."""

    def __init__(self) -> None:
        self.known: dict[CursorId, Cursor] = {}

    def get(self, cursor: CursorId) -> tuple[int, int]:
        return self.known.get(cursor, NONE)

    def of_device(self, user: str, device: str) -> Iterable[CursorId]:
        return [cursor for cursor in self.known if cursor[1:] == (user, device)]

    def fold(self, sent: Sent) -> None:
        outcome = Outcome({}, {}, [])
        fold_receipts(self, ((item, 1) for item in decode_receipts(sent.value).items), outcome)
        self.known |= outcome.changed


def test_an_old_receipt_does_not_bring_a_device_back_that_was_logged_out() -> None:
    """A sibling of fault 3."""

    async def scenario() -> None:
        kafka, cursors = SlowKafka(), Cursors()
        receipts = Receipts(kafka, 1)
        receipts.submit(Receipt(A, "bob", "phone", 5, True))
        await asyncio.sleep(1)
        (old,) = kafka.take()
        receipts.forget("bob", "phone")
        await asyncio.sleep(1)
        (forgotten,) = kafka.take()
        cursors.fold(forgotten)
        fail(old)
        await asyncio.sleep(2)
        for sent in kafka.take():
            cursors.fold(sent)
        assert cursors.get((A, "bob", "phone"))[0] == 0

        receipts.submit(Receipt(A, "bob", "phone", 6, True))  # it has logged in again
        await asyncio.sleep(1)
        (new,) = kafka.take()
        fail(new)
        await asyncio.sleep(2)
        for sent in kafka.take():
            cursors.fold(sent)
        assert cursors.get((A, "bob", "phone"))[0] == 6

    run(scenario())


class _Counted(dict[CursorId, Cursor]):
    """Counts the keys that were looked through."""

    looked_at = 0

    def __iter__(self) -> Iterator[CursorId]:
        for cursor in super().__iter__():
            self.looked_at += 1
            yield cursor


def test_a_log_out_looks_at_its_own_device_only() -> None:
    """Else a flood of log-outs among the receipts of others is quadratic work in the fold."""
    known, looked_up = Cursors(), list[str]()
    known.known = {(A, "bob", "phone"): Cursor(3, 1)}
    of_device = known.of_device

    def counting(user: str, device: str) -> Iterable[CursorId]:
        looked_up.append(device)
        return of_device(user, device)

    known.of_device = counting  # type: ignore[method-assign]
    changed = _Counted()
    items: list[Receipt | DeviceForgotten] = [
        *(Receipt(f"alice:x{number}", "alice", "tablet", 1, True) for number in range(200)),
        Receipt(A, "bob", "phone", 5, True),
        *[DeviceForgotten("bob", "phone")] * 100,
        *(DeviceForgotten("bob", f"made-up-{number}") for number in range(100)),
        Receipt(A, "bob", "phone", 4, True),
        DeviceForgotten("bob", "phone"),
    ]
    fold_receipts(known, ((item, 1) for item in items), Outcome(changed, {}, []))
    assert changed.looked_at == 0
    assert len(looked_up) == 101, "of a device once"
    assert changed[A, "bob", "phone"] == NONE
    assert changed["alice:x7", "alice", "tablet"] == Cursor(1, 1)


@given(
    steps=st.lists(st.integers(1, 9) | st.just("forget"), max_size=12),
    chance=st.randoms(use_true_random=False),
)
def test_whatever_kafka_does_not_take_the_cursors_are_the_highest(
    steps: list[int | str], chance: random.Random
) -> None:
    """Receipts merge by maximum, so one that is sent again after a higher one changes nothing."""

    async def scenario() -> None:
        kafka, cursors = SlowKafka(), Cursors()
        receipts = Receipts(kafka, 1)
        under_way: list[Sent] = []

        async def settle(all_: bool) -> None:
            await asyncio.sleep(chance.choice((0.001, 0.01, 2)))
            for sent in kafka.take():
                if chance.random() < (0 if all_ else 0.4):
                    under_way.append(sent)
                else:
                    cursors.fold(sent)
            while under_way and (all_ or chance.random() < 0.3):
                fail(under_way.pop(0))

        for step in steps:
            if isinstance(step, int):
                assert receipts.submit(Receipt(A, "bob", "phone", step, True))
            else:
                assert receipts.forget("bob", "phone")
            await settle(False)
        for _ in range(3):
            await settle(True)
            await asyncio.sleep(2)
        highest = max((step for step in steps if isinstance(step, int)), default=0)
        assert cursors.get((A, "bob", RECEIVED))[0] == highest
        assert cursors.get((A, "bob", READ))[0] == highest
        if steps and steps[-1] == "forget":
            assert cursors.get((A, "bob", "phone"))[0] == 0

    run(scenario())


def _items(kafka: SlowKafka) -> list[Receipt]:
    items = [item for sent in kafka.take() for item in decode_receipts(sent.value).items]
    return [item for item in items if isinstance(item, Receipt)]


@virtual_time
async def test_receipts_that_advance_the_same_cursor_are_one() -> None:
    kafka = SlowKafka()
    receipts = Receipts(kafka, 1)
    for seq in range(1, 6):
        for device in ("phone", "tab"):
            receipts.submit(Receipt(A, "bob", device, seq, False))
            receipts.submit(Receipt(A, "bob", device, seq, True))
            await asyncio.sleep(0.001)
    assert kafka.sent == [], "they wait for others"
    await asyncio.sleep(COLLECT_SECONDS)
    assert sorted((item.seq, item.read, item.device) for item in _items(kafka) if item.read) == [
        (5, True, "phone"),
        (5, True, "tab"),
    ]
    receipts.submit(Receipt(A, "bob", "phone", 7, False))
    receipts.submit(Receipt(A, "bob", "tab", 6, False))
    await asyncio.sleep(COLLECT_SECONDS * 1.1)
    assert [(item.seq, item.read) for item in _items(kafka)] == [(7, False)]


@virtual_time
async def test_a_node_that_stops_sends_the_receipts_that_wait() -> None:
    kafka = SlowKafka()
    receipts = Receipts(kafka, 4)
    for seq in range(1, 100):
        receipts.submit(Receipt(A, f"user{seq}", "phone", seq, False))
    receipts.flush()
    assert len(_items(kafka)) == 99
    kafka.full = True
    receipts.submit(Receipt(A, "bob", "phone", 1, False))
    receipts.flush()  # ends, although nothing can be sent
