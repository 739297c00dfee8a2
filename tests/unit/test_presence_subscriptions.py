"""What a node tells of watched users: always the latest state, whichever way and in whatever order
the node learns of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import pytest

from connectors.redis.memory import MemoryWatchers
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codec import EVERYBODY, encode_frame, presence_of
from schemas.events import SCHEMA_VERSION, PresenceDelivered, PresenceState
from schemas.frames import Presence, Watch
from schemas.worker_api import Stance
from tests.unit.test_gateway_parts import Socket


def state(offset: int, online: bool, topic: str = "input") -> PresenceState:
    return PresenceState(
        SCHEMA_VERSION, "bob", ("n1",) if online else (), 0 if online else offset, topic, offset
    )


def shown(offset: int, online: bool) -> Presence:
    return Presence("bob", online, 0 if online else offset)


class Workers:
    """What the workers answer, and what happens meanwhile."""

    def __init__(self) -> None:
        self.known: list[PresenceState] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def by_partition(self, names: Iterable[str]) -> dict[int, list[str]]:
        return {0: list(names)}

    async def ask_about(self, *question: object) -> tuple[dict[int, list[PresenceState]], bool]:
        answer = list(self.known)
        self.meanwhile()
        return {0: answer}, True


class Conversations:
    """Everybody has a conversation with everybody; `meanwhile` runs before each answer."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], Any] | None = None

    async def seqs(self, conversations: Iterable[str]) -> tuple[Mapping[str, int], bool]:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return dict.fromkeys(conversations, 1), True


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def conversations() -> Conversations:
    return Conversations()


class Decided:
    """Whom bob has blocked, and what the node knows of that."""

    def __init__(self) -> None:
        self.blocked: set[str] = set()
        self.known: dict[str, Stance] = {}

    def look(self, user: str, other: str, then: Callable[[Stance], None]) -> None:
        if other not in self.known:
            is_ = other in self.blocked
            self.known[other] = Stance(is_, hides_presence=is_)
        then(self.known[other])

    def forget(self, other: str, users: Iterable[str]) -> None:
        self.known.pop(other, None)


@pytest.fixture
def stances() -> Decided:
    return Decided()


@pytest.fixture
async def node(
    workers: Workers, conversations: Conversations, stances: Decided
) -> PresenceSubscriptions:
    made = PresenceSubscriptions(
        cast(Any, workers),
        cast(Any, conversations),
        MemoryWatchers(MemoryRedis(MemoryRedisServer(lambda: 0.0))),
        cast(Any, stances),
    )
    made.leased(0)
    return made


def deliver(node: PresenceSubscriptions, told: PresenceState) -> None:
    node.deliver(PresenceDelivered("bob", encode_frame(presence_of("bob", told)), told))


async def watch(node: PresenceSubscriptions, device: str) -> tuple[Socket, Presence]:
    """A device of alice that watches bob, and what it is answered."""
    socket = Socket("alice", device)
    (presence,) = (await node.watch(socket, Watch(1, ["bob"]))).users
    return socket, presence


@pytest.mark.parametrize("known", [[], [state(3, False)]])
async def test_what_is_delivered_while_the_answer_is_on_its_way_is_in_it(
    node: PresenceSubscriptions, workers: Workers, known: list[PresenceState]
) -> None:
    workers.known, workers.meanwhile = known, lambda: deliver(node, state(5, True))
    _, answered = await watch(node, "phone")
    assert answered == shown(5, True)


async def test_what_is_outdone_is_not_told(node: PresenceSubscriptions, workers: Workers) -> None:
    """An owner that was paused delivers it: an earlier fact, or the same before a node was found
    dead."""
    workers.known = [state(5, False)]
    phone, answered = await watch(node, "phone")
    assert answered == shown(5, False)
    for late in (state(4, True), state(5, True), state(5, False)):
        deliver(node, late)
    assert phone.pushed == []
    deliver(node, state(6, True))
    deliver(node, state(1, False, "created anew"))
    assert phone.pushed == [encode_frame(shown(6, True)), encode_frame(shown(1, False))]


async def test_what_is_news_in_an_answer_is_told_to_the_others_who_watch(
    node: PresenceSubscriptions, workers: Workers
) -> None:
    """The same that is delivered later is no news any more."""
    workers.known = [state(3, False)]
    phone, _ = await watch(node, "phone")
    workers.known = [state(5, True)]
    tablet, answered = await watch(node, "tablet")
    deliver(node, state(5, True))
    assert answered == shown(5, True)
    assert (phone.pushed, tablet.pushed) == ([encode_frame(shown(5, True))], [])


async def test_a_connection_that_has_ended_watches_nobody(node: PresenceSubscriptions) -> None:
    phone, _ = await watch(node, "phone")
    assert set(node.watchers_of("bob")) == {phone}
    node.ended(phone)
    deliver(node, state(6, True))
    assert (phone.pushed, set(node.watchers_of("bob"))) == ([], set())


async def test_of_two_questions_of_a_connection_the_later_counts_whichever_is_answered_first(
    node: PresenceSubscriptions, conversations: Conversations
) -> None:
    phone = Socket("alice", "phone")

    async def ask_again() -> None:
        await node.watch(phone, Watch(2, ["carol"]))

    conversations.meanwhile = ask_again
    with pytest.raises(WorkersUnavailable):
        await node.watch(phone, Watch(1, ["bob"]))
    assert (set(node.watchers_of("bob")), set(node.watchers_of("carol"))) == (set(), {phone})


async def test_whoever_is_blocked_sees_nobody_and_sees_them_again_when_they_are_not(
    node: PresenceSubscriptions, workers: Workers, stances: Decided
) -> None:
    gone = encode_frame(Presence("bob", False, 0))
    workers.known = [state(5, True)]
    phone, answered = await watch(node, "phone")
    assert answered == shown(5, True)
    stances.blocked.add("alice")
    node.changed("bob", "alice")
    deliver(node, state(6, False))
    assert (phone.pushed, node.watchers_of("bob")) == ([gone], [])
    workers.known = [state(6, False)]
    tab, answered = await watch(node, "tab")
    assert answered == Presence("bob", False, 0)
    deliver(node, state(7, True))
    stances.blocked.clear()
    node.changed("bob", "carol")
    assert phone.pushed == [gone]
    node.changed("bob", EVERYBODY)
    assert phone.pushed == [gone, encode_frame(shown(7, True))]
    assert (tab.pushed, node.watchers_of("bob")) == (phone.pushed[1:], [phone, tab])


async def test_what_the_node_knew_of_a_user_before_somebody_watched_them_does_not_count(
    node: PresenceSubscriptions, workers: Workers, stances: Decided
) -> None:
    """A node that watches nobody is not told what users decide for everybody."""
    stances.look("bob", "alice", lambda stance: None)  # alice has just sent bob a message
    stances.blocked.add("alice")
    workers.known = [state(5, True)]
    phone, answered = await watch(node, "phone")
    deliver(node, state(6, False))
    assert (answered, phone.pushed) == (Presence("bob", False, 0), [])


async def test_nothing_is_shown_before_it_is_known_who_may_see_it(
    node: PresenceSubscriptions, workers: Workers, stances: Decided
) -> None:
    def look(user: str, other: str, then: Callable[[Stance | None], None]) -> None:
        deliver(node, state(5, True))
        then(None)

    stances.look = look  # type: ignore[method-assign,assignment]
    phone = Socket("alice", "phone")
    answer = await node.watch(phone, Watch(1, ["bob"]))
    deliver(node, state(6, False))
    assert (answer.users, answer.pending, phone.pushed) == ([], True, [])
