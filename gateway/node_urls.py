"""Where nodes can be reached: this node announces its URL, and finds the right node for a user."""

import asyncio
import logging
from collections.abc import Callable

from connectors.redis.client import RedisUnavailable
from connectors.redis.nodes import Nodes
from connectors.redis.routes import RENEW_SECONDS
from gateway.log_throttle import LogThrottle
from gateway.rendezvous import right_node

log = logging.getLogger(__name__)


class NodeUrls:
    """`own` is this node's URL; `slot` gives the slot that it has, None if devices should not come
    now. There are gateway slots 0..slots-1."""

    def __init__(self, nodes: Nodes, slots: int, own: str, slot: Callable[[], int | None]) -> None:
        self.own = own
        self._nodes = nodes
        self._slots = slots
        self._slot = slot
        self._unknown = LogThrottle(log.info)

    async def right_node(self, user: str) -> str | None:
        """The URL of the node on which the user's devices should meet, None if that is not known
        now."""
        try:
            return right_node(user, (await self._nodes.find(self._slots)).values())
        except RedisUnavailable as error:
            self._unknown(f"the nodes are not known now: {error}")
            return None

    async def announce(self) -> None:
        """Announce this node each second, while devices may come; until cancelled."""
        while True:
            announced = False
            slot = self._slot()
            if slot is not None:
                try:
                    await self._nodes.announce(slot, self.own)
                    announced = True
                except RedisUnavailable as error:
                    log.debug("this node is not announced now: %s", error)
            await asyncio.sleep(RENEW_SECONDS if announced else RENEW_SECONDS / 20)
