"""Marks for those who may see them. A user who may not see what another one has read gets the mark
without it. A user whose request is not accepted gets no mark.

A mark of a user about whom the node knows nothing now is not pushed; the other user's devices are
told to ask for it.
"""

import asyncio
from functools import partial

from gateway.people.stances import Stances
from gateway.registry import ConnectionRegistry
from gateway.resync import RESYNC
from schemas.codec import decode_server_frames, encode_frame
from schemas.events import MarkDelivered
from schemas.frames import Mark
from schemas.worker_api import Stance

_RESYNC_SECONDS = 5.0
"""Lies between two times at which the node tells devices to ask."""


def seen_by_others(mark: Mark, stance: Stance) -> Mark | None:
    """The mark of a user as it is shown to the other one, about whom the stance is. None: they see
    nothing of it."""
    if stance.request:
        return None
    if not stance.hides_reads:
        return mark
    return Mark(mark.conversation, mark.user, mark.received, mark.received_at, 0, 0)


class MarkFilter:
    """Use it inside a running loop."""

    def __init__(self, stances: Stances, registry: ConnectionRegistry) -> None:
        self._stances = stances
        self._registry = registry
        self._missed: dict[str, None] = {}
        """Users whose devices must ask; those of this node at most."""

    def deliver(self, event: MarkDelivered) -> None:
        """Push a mark to the devices that `event.users` have here."""
        for user in event.users:
            if event.of in ("", user):
                self._registry.push(user, event.frame)
            elif (stance := self._stances.fresh(event.of, user)) is not None:
                self._show(user, event.frame, stance)
            elif self._registry.of(user):
                self._stances.look(event.of, user, partial(self._show, user, event.frame))

    def _show(self, user: str, frame: bytes, stance: Stance | None) -> None:
        if stance is None:
            if not self._missed:
                asyncio.get_running_loop().call_later(_RESYNC_SECONDS, self._resync)
            self._missed[user] = None
            return
        if stance.hides_reads:
            (mark,) = decode_server_frames(frame)
            assert isinstance(mark, Mark)
            seen = seen_by_others(mark, stance)
            if seen is None:
                return
            frame = encode_frame(seen)
        self._registry.push(user, frame)

    def _resync(self) -> None:
        missed, self._missed = self._missed, {}
        for user in missed:
            self._registry.push(user, RESYNC)
