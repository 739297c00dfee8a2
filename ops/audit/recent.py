"""The messages that the judge has folded last, as hashes, to compare what is found elsewhere with
them."""

from typing import NamedTuple

from schemas.events import Taken

MOST_MESSAGES = 200_000
"""Some 60 MB."""


class Content(NamedTuple):
    """What a message is, as hashes of this process. `head`: key, log time and sender; `body`: its
    text."""

    head: int
    body: int


def content(key: str, time: int, sender: str, body: str) -> Content:
    """`key` as hex digits, `time` in ms."""
    return Content(hash((key, time, sender)), hash(body))


class RecentMessages:
    """At most `most` messages, the newest: of two generations, the older goes as a whole."""

    def __init__(self, most: int = MOST_MESSAGES) -> None:
        self._most = most // 2
        self._new: dict[tuple[str, int], Content] = {}
        self._old: dict[tuple[str, int], Content] = {}
        self._new_keys: dict[int, int] = {}
        self._old_keys: dict[int, int] = {}

    def add(self, item: Taken) -> None:
        if len(self._new) >= self._most:
            self._old, self._new = self._new, {}
            self._old_keys, self._new_keys = self._new_keys, {}
        key = item.key.hex()
        self._new[item.conversation, item.seq] = content(key, item.time, item.sender, item.body)
        self._new_keys[hash((item.conversation, item.sender, key))] = item.seq

    def find(self, conversation: str, seq: int) -> Content | None:
        name = conversation, seq
        return self._new.get(name) or self._old.get(name)

    def number_of(self, conversation: str, sender: str, key: str) -> int:
        """The number of the sender's message with this key, 0 if there is none."""
        name = hash((conversation, sender, key))
        return self._new_keys.get(name) or self._old_keys.get(name, 0)
