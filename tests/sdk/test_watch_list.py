"""Whose presence a device watches."""

import itertools

from messenger_sdk.watch_list import WatchList
from schemas.frames import Presence, Presences


def test_an_answer_about_the_users_before_does_not_answer_for_those_of_now() -> None:
    watched = WatchList(lambda: 0.0, itertools.count(1))
    watched.set(["alice"], 0.0)
    first = watched.question(0.0)
    watched.set(["alice", "bob"], 0.1)
    assert first is not None
    watched.answer(Presences(first.id, [Presence("alice", True, 0)], False), 0.2)
    second = watched.question(0.2)
    assert second is not None
    assert list(second.users) == ["alice", "bob"]
