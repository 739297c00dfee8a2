"""The node's gateway slot: leased in Redis, read in Kafka.

A slot is a partition of `deliveries`. R14: the position from which the slot is read is known before
the first route to it is written, so nothing that is routed here is missed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from connectors.kafka.ports import Kafka, PartitionConsumer, ReadTimeout
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import LEASE_SECONDS, RENEW_SECONDS, Lease, Routes
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

_READ_SECONDS = 3.0


class SlotUser(Protocol):
    """Learns which slot the node has."""

    def slot_leased(self, slot: int, vanished: bool) -> None:
        """The node has the slot, and reads it. `vanished`: it has had it before, but Redis had
        forgotten the lease, and maybe everything else that this node had written there."""

    async def slot_lost(self) -> None:
        """The node has no slot any more: close the connections."""


class SlotLease:
    """Has one of the slots 0..slots-1 for `node` while `run` runs. `on_records` gets each fetch."""

    def __init__(
        self,
        node: str,
        slots: int,
        kafka: Kafka,
        routes: Routes,
        user: SlotUser,
        on_records: Callable[[Sequence[Record]], None],
    ) -> None:
        self._node = node
        self._slots = slots
        self._kafka = kafka
        self._routes = routes
        self._user = user
        self._on_records = on_records
        self._leased: int | None = None
        self._consumer: PartitionConsumer | None = None
        self._lost = asyncio.Event()
        """The consumer cannot go on."""
        self._leased_until = 0.0
        """By the loop's clock. Until then no other node gets the slot."""

    @property
    def slot(self) -> int | None:
        """The slot, while it is leased and read."""
        return self._leased if self._consumer is not None else None

    async def run(self) -> None:
        """Lease a slot, keep it, lease another when it is lost; until cancelled."""
        try:
            while True:
                await self._keep(await self._acquire())
                await self._release()
        finally:
            await self._release()

    async def _acquire(self) -> int:
        slot = await self._lease()
        position = await self._end_of_deliveries(slot)
        self._lost.clear()
        self._consumer = self._kafka.partition_consumer(
            DELIVERIES, slot, position, self._on_records, self._on_lost
        )
        log.info("node %s has gateway slot %d, from offset %d on", self._node, slot, position)
        self._user.slot_leased(slot, vanished=False)
        return slot

    async def _lease(self) -> int:
        clock = asyncio.get_running_loop().time
        while True:
            asked = clock()
            try:
                slot = await self._routes.acquire_slot(self._node, self._slots)
                if slot is not None:
                    self._leased, self._leased_until = slot, asked + LEASE_SECONDS
                    return slot
                log.error("all %d gateway slots are taken; waiting for one", self._slots)
            except RedisUnavailable as error:
                log.warning("no gateway slot yet: %s", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _end_of_deliveries(self, slot: int) -> int:
        def read() -> int:
            reader = self._kafka.reader(timeout=_READ_SECONDS)
            try:
                return reader.watermarks(DELIVERIES, slot)[1]
            finally:
                reader.close()

        while True:
            try:
                return await asyncio.to_thread(read)
            except ReadTimeout as error:
                log.warning("no position in deliveries yet: %s", error)
                await asyncio.sleep(RENEW_SECONDS)

    async def _keep(self, slot: int) -> None:
        """Renew the lease until the slot is lost."""
        clock = asyncio.get_running_loop().time
        while not self._lost.is_set():
            asked = clock()
            try:
                # An attempt has a second, however late it is: a node that was paused for longer
                # than its lease keeps its slot, if no other node has it.
                async with asyncio.timeout(max(RENEW_SECONDS, self._leased_until - asked)):
                    lease = await self._routes.renew_slot(self._node, slot)
            except (RedisUnavailable, TimeoutError) as error:
                if clock() >= self._leased_until:
                    log.error("the lease of slot %d may have run out: %s", slot, error)
                    return
                log.warning("the lease of slot %d cannot be renewed now: %s", slot, error)
            else:
                if lease is Lease.TAKEN:
                    log.error("another node has slot %d", slot)
                    return
                self._leased_until = asked + LEASE_SECONDS
                if lease is Lease.VANISHED:
                    log.warning("the lease of slot %d had vanished; it is leased again", slot)
                    self._user.slot_leased(slot, vanished=True)
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                pass

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
