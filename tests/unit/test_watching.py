"""What a node tells of watched users: the latest, whichever way and in whatever order it hears of
it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import pytest

from connectors.redis.memory import MemoryWatchers
from gateway.presence.node import PresenceNode
from gateway.registry import Connection
from schemas.codec import encode_frame, presence_of
from schemas.events import SCHEMA_VERSION, PresenceDelivered, PresenceState
from schemas.frames import Presence, Watch
from tests.unit.test_gateway_parts import Socket


def state(offset: int, online: bool, topic: str = "input") -> PresenceState:
    return PresenceState(
        SCHEMA_VERSION, "bob", ("n1",) if online else (), 0 if online else offset, topic, offset
    )


def shown(offset: int, online: bool) -> Presence:
    return Presence("bob", online, 0 if online else offset)


class WorkerClient:
    """What the workers answer, and what happens meanwhile."""

    partitions = 1

    def __init__(self) -> None:
        self.known: list[PresenceState] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def ask_owners(self, *question: object) -> tuple[dict[int, list[PresenceState]], bool]:
        answer = list(self.known)
        self.meanwhile()
        return {0: answer}, True


class ConversationQueries:
    """Everybody has a conversation with everybody."""

    async def seqs(self, conversations: Iterable[str]) -> tuple[Mapping[str, int], bool]:
        return dict.fromkeys(conversations, 1), True


@pytest.fixture
def workers() -> WorkerClient:
    return WorkerClient()


@pytest.fixture
async def node(workers: WorkerClient) -> PresenceNode:
    none = cast(Any, None)
    made = PresenceNode(
        "n1",
        none,
        cast(Any, workers),
        cast(Any, ConversationQueries()),
        MemoryWatchers(lambda: 0.0),
        none,
    )
    made.slot = 0
    return made


def tell(node: PresenceNode, told: PresenceState) -> None:
    dirty: set[Connection] = set()
    node.deliver(PresenceDelivered("bob", encode_frame(presence_of("bob", told)), told), dirty)


async def watch(node: PresenceNode, device: str) -> tuple[Socket, Presence]:
    """A device of alice that watches bob, and what it is answered."""
    socket = Socket("alice", device)
    (presence,) = (await node.watch(socket, Watch(1, ["bob"]))).users
    return socket, presence


@pytest.mark.parametrize("known", [[], [state(3, False)]])
async def test_what_is_told_while_the_answer_is_on_its_way_is_in_it(
    node: PresenceNode, workers: WorkerClient, known: list[PresenceState]
) -> None:
    workers.known, workers.meanwhile = known, lambda: tell(node, state(5, True))
    _, answered = await watch(node, "phone")
    assert answered == shown(5, True)


async def test_what_is_outdone_is_not_told(node: PresenceNode, workers: WorkerClient) -> None:
    """By an owner that was paused: of earlier facts, or of the same before a node was found
    dead."""
    workers.known = [state(5, False)]
    phone, answered = await watch(node, "phone")
    assert answered == shown(5, False)
    for late in (state(4, True), state(5, True), state(5, False)):
        tell(node, late)
    assert phone.pushed == []
    tell(node, state(6, True))
    tell(node, state(1, False, "created anew"))
    assert phone.pushed == [encode_frame(shown(6, True)), encode_frame(shown(1, False))]


async def test_what_is_news_in_an_answer_is_told_to_the_others_who_watch(
    node: PresenceNode, workers: WorkerClient
) -> None:
    """The same that is told later is no news any more."""
    workers.known = [state(3, False)]
    phone, _ = await watch(node, "phone")
    workers.known = [state(5, True)]
    tablet, answered = await watch(node, "tablet")
    tell(node, state(5, True))
    assert answered == shown(5, True)
    assert (phone.pushed, tablet.pushed) == ([encode_frame(shown(5, True))], [])
