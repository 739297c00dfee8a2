"""Sockets are pinged in time, not all at once, and ended if they do not answer."""

from collections import Counter

from gateway.edge.heartbeats import Heartbeats
from simulation.loop import VirtualLoop

HEARTBEAT = 25.0


class Peer:
    def __init__(self, loop: VirtualLoop, answers: bool) -> None:
        self._loop = loop
        self._answers = answers
        self._silent = False
        self.pinged: list[float] = []
        self.ended: list[float] = []

    def ping(self) -> None:
        self.pinged.append(self._loop.time())
        self._silent = not self._answers

    def look(self) -> None:
        if self._silent:
            self.ended.append(self._loop.time())


def test_each_is_pinged_once_in_a_heartbeat_and_a_silent_one_ends_half_a_heartbeat_later() -> None:
    loop = VirtualLoop()
    heartbeats, parts = Heartbeats(HEARTBEAT), dict[Peer, int]()
    peers = [Peer(loop, answers=number % 10 > 0) for number in range(1000)]

    def come() -> None:
        for peer in peers:
            parts[peer] = heartbeats.add(peer)

    loop.do(come)
    loop.advance(HEARTBEAT * 1.01)
    assert all(1 <= len(peer.pinged) <= 2 for peer in peers)
    together = Counter(peer.pinged[0] for peer in peers)
    assert max(together.values()) <= 16, "those that come together are not pinged together"
    loop.advance(HEARTBEAT * 0.6)
    for number, peer in enumerate(peers):
        assert bool(peer.ended) is (number % 10 == 0)
        if peer.ended:
            assert abs(peer.ended[0] - peer.pinged[0] - HEARTBEAT / 2) < HEARTBEAT / 20

    def go() -> None:
        for peer in peers:
            heartbeats.remove(peer, parts[peer])

    loop.do(go)
    before = [len(peer.pinged) for peer in peers]
    loop.advance(HEARTBEAT * 3)
    assert [len(peer.pinged) for peer in peers] == before
