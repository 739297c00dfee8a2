"""R14 and R15: slots, routes, and what a node does when it may have lost them."""

import asyncio
from typing import Any

from gateway.route_writer import RouteWriter
from gateway.slot_lease import SlotLease
from messenger_sdk.inbox import Inbox
from simulation.world import Shape
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import REDIS, ignored, returns_true

_begin = SlotLease._begin


class _NoConsumer:
    async def close(self) -> None: ...


async def _position_after_routes(self: Any, slot: int) -> bool:
    self._consumer = _NoConsumer()
    self._user.slot_leased(slot, vanished=False)
    await asyncio.sleep(0.5)
    self._consumer = None
    return await _begin(self, slot)


async def _never_returns(self: Any, slot: int) -> None:
    await asyncio.Event().wait()


MUTATIONS = [
    Mutation(
        "the position comes after the routes",
        "R14",
        "devices are routed before the node knows from where it reads",
        [(SlotLease, "_begin", _position_after_routes)],
        {"kill_gateway": 15, "stop_gateway": 8, "send": 40},
        200,
    ),
    Mutation(
        "a lost position is not noticed",
        "R14",
        "a node whose deliveries have expired goes on (decision 62, which heals it, is off)",
        [(SlotLease, "_on_lost", ignored), (SlotLease, "_keep_listening", _never_returns)],
        {"expire_deliveries": 15, "pause_gateway": 10, "cut_from_kafka": 10, "send": 30},
        200,
    ),
    Mutation(
        "a slot that is taken is not noticed",
        "R14",
        "a node that cannot reach Redis keeps its sessions when another has its slot",
        [(SlotLease, "slot_taken", ignored)],
        {"take_slot": 15, "send": 30},
        shape=Shape(slots=2),
    ),
    Mutation(
        "routes are not written again",
        "R15",
        "a lease that vanished changes nothing",
        [(RouteWriter, "_renew_all", returns_true)],
        REDIS,
    ),
    Mutation(
        "devices are not told to ask again",
        "R15",
        "routes are written again, without a resync",
        [(Inbox, "resync", ignored)],
        REDIS,
    ),
]
