"""Deliveries of several stages and partitions to a slot: one record, in order, and each that sends
hears of its own."""

import asyncio

from schemas.codec import MAX_DELIVERY_BYTES, decode_deliveries
from schemas.events import MarkDelivered
from streams.slot_sender import SlotSender
from tests.harness.slow_kafka import Sent, SlowKafka, fail
from tests.harness.virtual import virtual_time


def event(number: int, size: int = 1) -> MarkDelivered:
    return MarkDelivered([str(number)], bytes(size))


def carried(sent: list[Sent]) -> list[tuple[int, list[int]]]:
    """(slot, the numbers of its events) of each record."""
    return [
        (
            record.partition,
            [
                int(one.users[0])
                for one in decode_deliveries(record.value).events
                if isinstance(one, MarkDelivered)
            ],
        )
        for record in sent
    ]


def acknowledge(sent: Sent) -> None:
    assert sent.report is not None
    sent.report(None, 0)


class Rig:
    def __init__(self) -> None:
        self.kafka = SlowKafka()
        self.sender = SlotSender(self.kafka)
        self.told: list[tuple[int, bool]] = []

    def send(self, slot: int, number: int, patience: float = 0.0, size: int = 1) -> None:
        def told(ok: bool) -> None:
            self.told.append((number, ok))

        self.sender.send(slot, [event(number, size)], told, patience)


@virtual_time
async def test_what_goes_to_a_slot_in_one_turn_is_one_record() -> None:
    rig = Rig()
    for number in range(6):
        rig.send(number % 2, number)
    assert rig.kafka.sent == []
    await asyncio.sleep(0)
    sent = rig.kafka.take()
    assert carried(sent) == [(0, [0, 2, 4]), (1, [1, 3, 5])]
    acknowledge(sent[0])
    fail(sent[1])
    assert rig.told == [(0, True), (2, True), (4, True), (1, False), (3, False), (5, False)]


@virtual_time
async def test_who_is_patient_rides_with_who_is_in_a_hurry() -> None:
    rig = Rig()
    rig.send(0, 1, patience=0.01)
    rig.send(1, 2, patience=0.01)
    await asyncio.sleep(0.002)
    assert rig.kafka.sent == []
    rig.send(0, 3)
    await asyncio.sleep(0)
    assert carried(rig.kafka.take()) == [(0, [1, 3])]
    await asyncio.sleep(0.009)
    assert carried(rig.kafka.take()) == [(1, [2])]


@virtual_time
async def test_records_that_are_too_many_for_the_producer_stay_in_order() -> None:
    rig = Rig()
    rig.kafka.full = True
    rig.send(0, 1)
    await asyncio.sleep(0.01)
    rig.send(0, 2)
    rig.send(1, 3)
    await asyncio.sleep(0.2)
    rig.kafka.full = False
    rig.send(0, 4)
    await asyncio.sleep(0.2)
    sent = rig.kafka.take()
    assert sorted(carried(sent)) == [(0, [1]), (0, [2, 4]), (1, [3])]
    slot_0 = [numbers for slot, numbers in carried(sent) if slot == 0]
    assert slot_0 == [[1], [2, 4]]
    assert rig.told == []


@virtual_time
async def test_events_that_need_two_records_are_told_of_once_both_are_acknowledged() -> None:
    rig = Rig()
    rig.send(0, 1, size=MAX_DELIVERY_BYTES // 2)
    rig.send(0, 2, size=MAX_DELIVERY_BYTES // 2)
    await asyncio.sleep(0)
    first, second = rig.kafka.take()
    assert carried([first, second]) == [(0, [1]), (0, [2])]
    acknowledge(first)
    assert rig.told == []
    fail(second)
    assert rig.told == [(1, False), (2, False)]
