"""The node's gateway slot: leased in Redis, read in Kafka.

A slot is a partition of `deliveries`. A node that takes a slot writes `SlotTaken` there. Its place
is the position from which the node reads, so the position is known before the first route (R14),
and the node that had the slot before learns from Kafka that it is gone, even if that node cannot
reach Redis.

A slot is mute when nothing comes from it although the node writes to it, and Kafka takes what the
node writes to another one: nobody leads its partition, say. Then the node gives it up and takes
another (decision 62).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from connectors.dependency import Dependency
from connectors.kafka.ports import Kafka, KafkaSendError, PartitionConsumer, Producer, QueueFull
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import LEASE_SECONDS, RENEW_SECONDS, Lease, Routes
from schemas.codec import encode_deliveries
from schemas.events import SlotTaken
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

_PRODUCER = {"linger.ms": 0, "message.timeout.ms": 2_000}
"""A SlotTaken that comes late would cost the slot's next node its sessions. Twice this time is less
than a lease."""
(_NOTHING,) = encode_deliveries([])
"""Means nothing to any reader, so it may come late."""
QUIET_SECONDS = 3
"""From a slot that is in order nothing comes for so long only if nobody writes to it."""
MUTE_SECONDS = 7
"""A partition has another leader within 4 s mostly (decision 38); meanwhile the sessions stay."""


class SlotUser(Protocol):
    """Learns which slot the node has."""

    def slot_leased(self, slot: int, vanished: bool) -> None:
        """The node has the slot, and reads it. `vanished`: it has had it before, but Redis had
        forgotten the lease, and maybe everything else that this node had written there."""

    async def slot_lost(self) -> None:
        """The node has no slot any more: close the connections."""


class SlotLease:
    """Has one of the slots 0..slots-1 for `node` while `run` runs. `on_records` gets each fetch;
    `kafka_health` says whether this node reaches Kafka.

    Lookups ignore a node's routes once another node has its slot, and then its sessions are deaf:
    it must close them. It learns of it from its next renewal, or else from the other's SlotTaken.
    As long as it reads Kafka, it keeps its sessions however long Redis is away.
    """

    def __init__(
        self,
        node: str,
        slots: int,
        kafka: Kafka,
        routes: Routes,
        user: SlotUser,
        on_records: Callable[[Sequence[Record]], None],
        kafka_health: Dependency,
    ) -> None:
        self._node = node
        self._slots = list(range(slots))
        """In the order in which they are tried; those that Kafka did not serve come last."""
        self._kafka = kafka
        self._routes = routes
        self._user = user
        self._on_records = on_records
        self._kafka_health = kafka_health
        self._clock = asyncio.get_running_loop().time
        self._producer: Producer | None = None
        self._leased: int | None = None
        self._consumer: PartitionConsumer | None = None
        self._lost = asyncio.Event()
        """Another node has the slot, or the consumer cannot go on."""
        self._silent = 0
        """Seconds without anything from the slot, as this node has lived through them: one that was
        paused has not waited."""
        self._refused = False
        """Kafka has not taken the last record that this node wrote to its slot."""
        self._leased_until = 0.0
        """By the loop's clock. Until then no other node gets the slot, unless Redis is emptied."""

    @property
    def slot(self) -> int | None:
        """The slot, while the node has it and reads it."""
        return self._leased if self._consumer is not None else None

    @property
    def renewed(self) -> bool:
        """Whether Redis has renewed the lease so lately that it cannot have run out."""
        return self._clock() < self._leased_until

    def slot_taken(self, node: str) -> None:
        """The node has read that `node` has taken the slot."""
        if node != self._node:
            log.error("node %s has taken slot %s of this node", node, self._leased)
            self._lost.set()

    async def run(self) -> None:
        """Lease a slot, keep it, lease another when it is lost; until cancelled."""
        self._producer = self._kafka.producer(_PRODUCER)
        try:
            while True:
                slot = await self._lease()
                if await self._begin(slot):
                    await self._keep(slot)
                    await self._release()
                else:
                    await self._release()
                    await asyncio.sleep(RENEW_SECONDS)
        finally:
            await self._release()
            await self._producer.close(0)

    async def _lease(self) -> int:
        while True:
            asked = self._clock()
            try:
                slot = await self._routes.acquire_slot(self._node, self._slots)
                if slot is not None:
                    self._leased, self._leased_until = slot, asked + LEASE_SECONDS
                    return slot
                log.error("all %d gateway slots are taken; waiting for one", len(self._slots))
            except RedisUnavailable as error:
                log.warning("no gateway slot yet: %s", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _begin(self, slot: int) -> bool:
        """Take the slot: tell the node that may have it, then read from there on. False: the slot
        is not this node's, or that is not known.

        The lease is renewed after Kafka has the SlotTaken. So the next node with this slot writes
        its SlotTaken behind this node's position, even if Redis was emptied meanwhile (decision
        28).
        """
        self._lost.clear()
        offset = await self._tell(slot)
        if offset is None:
            self._try_last(slot)
            return False
        if await self._renew(slot) in (None, Lease.TAKEN):
            return False
        self._silent, self._refused = 0, False
        self._consumer = self._kafka.partition_consumer(
            DELIVERIES, slot, offset + 1, self._receive, self._on_lost
        )
        log.info("node %s has gateway slot %d, from offset %d on", self._node, slot, offset + 1)
        self._user.slot_leased(slot, vanished=False)
        return True

    async def _tell(self, slot: int) -> int | None:
        """Write SlotTaken to the slot's partition; its offset, None if it may not be there."""
        assert self._producer is not None
        (record,) = encode_deliveries([SlotTaken(self._node)])
        try:
            offset = await self._producer.send_and_wait(DELIVERIES, slot, record)
        except (KafkaSendError, QueueFull) as error:
            log.warning("deliveries/%d does not say that this node has it: %s", slot, error)
            return None
        return offset if offset >= 0 else None

    def _try_last(self, slot: int) -> None:
        self._slots.remove(slot)
        self._slots.append(slot)

    async def _keep(self, slot: int) -> None:
        """Return when the slot is lost."""
        renewing = asyncio.ensure_future(self._keep_renewing(slot))
        listening = asyncio.ensure_future(self._keep_listening(slot))
        losing = asyncio.ensure_future(self._lost.wait())
        tasks = (renewing, listening, losing)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_renewing(self, slot: int) -> None:
        """Renew the lease until another node has it, or may have it and cannot tell this one."""
        told = True
        while True:
            had_run_out = not self.renewed
            lease = await self._renew(slot)
            if lease is Lease.TAKEN:
                return
            if lease is None and had_run_out and (problem := self._kafka_health.problem()):
                log.error("another node may have slot %d, and could not tell: %s", slot, problem)
                return
            if lease is Lease.VANISHED:
                log.warning("the lease of slot %d had vanished; it is leased again", slot)
                self._user.slot_leased(slot, vanished=True)
                told = False
            if not told:
                told = await self._tell(slot) is not None
            await asyncio.sleep(RENEW_SECONDS)

    async def _keep_listening(self, slot: int) -> None:
        """Return when the slot is mute. While Kafka takes nothing at all, another slot would be no
        better. If Kafka does not take a record, another one follows: health says that Kafka is
        away until it has taken one."""
        assert self._producer is not None
        while True:
            await asyncio.sleep(1)
            self._silent += 1
            if self._silent >= QUIET_SECONDS or self._refused:
                with contextlib.suppress(QueueFull):
                    self._producer.send(DELIVERIES, slot, _NOTHING, self._written)
            if self._silent < MUTE_SECONDS or (other := self._other(slot)) is None:
                continue
            try:
                await self._producer.send_and_wait(DELIVERIES, other, _NOTHING)
            except (KafkaSendError, QueueFull):
                self._refused = True
                self._try_last(other)
                continue
            await asyncio.sleep(1)  # what kept both may be over
            if self._silent:
                log.error("slot %d is mute, and slot %d is not: another is taken", slot, other)
                self._try_last(slot)
                return

    def _written(self, error: Exception | None, offset: int) -> None:
        self._refused = error is not None

    def _other(self, slot: int) -> int | None:
        return next((other for other in self._slots if other != slot), None)

    def _receive(self, records: Sequence[Record]) -> None:
        self._silent = 0
        self._on_records(records)

    async def _renew(self, slot: int) -> Lease | None:
        """Renew the lease once. None: Redis does not answer."""
        asked = self._clock()
        try:
            lease = await self._routes.renew_slot(self._node, slot)
        except RedisUnavailable as error:
            log.warning("the lease of slot %d cannot be renewed now: %s", slot, error)
            return None
        if lease is Lease.TAKEN:
            log.error("another node has slot %d", slot)
        else:
            self._leased_until = asked + LEASE_SECONDS
        return lease

    def _on_lost(self, reason: str) -> None:
        log.error("the place in deliveries is lost: %s", reason)
        self._lost.set()

    async def _release(self) -> None:
        slot, consumer, self._leased, self._consumer = self._leased, self._consumer, None, None
        if slot is None:
            return
        await self._user.slot_lost()
        if consumer is not None:
            await consumer.close()
        try:
            await self._routes.release_slot(self._node, slot)
        except RedisUnavailable as error:
            log.warning("the lease of slot %d runs out by itself: %s", slot, error)
