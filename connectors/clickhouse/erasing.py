"""What is to be erased, by the archive, and what was. Blocking; all raise as ArchiveAdmin does."""

from collections.abc import Sequence
from typing import NamedTuple

from connectors.clickhouse.admin import ArchiveAdmin
from schemas.archive import DELETION

_AT_ONCE = 1000
_FINAL = "SETTINGS do_not_merge_across_partitions_select_final = 1"
_TEXT_IS_THERE = f"changes = 0 AND version != 1 AND version < {DELETION}"


class Selection(NamedTuple):
    """Messages: of a `conversation`, of which `seq` one, or else all that `user` has sent."""

    conversation: str = ""
    seq: int = 0
    user: str = ""

    @property
    def name(self) -> str:
        if self.user:
            return f"user {self.user}"
        if self.seq:
            return f"message {self.conversation} {self.seq}"
        return f"conversation {self.conversation}"


class Erasable(NamedTuple):
    """A message whose text is there. `key` has 16 bytes, `time` is log time in ms."""

    conversation: str
    seq: int
    key: bytes
    sender: str
    time: int


class Run(NamedTuple):
    """One erasure: who, when (ms) and why."""

    id: str
    began: int
    who: str
    reason: str


def _where(selection: Selection) -> str:
    if selection.user:
        mine = "SELECT conversation FROM archive.user_conversations WHERE user = {user:String}"
        return f"conversation IN ({mine}) AND sender = {{user:String}} AND {_TEXT_IS_THERE}"
    one = " AND seq = {seq:UInt64}" if selection.seq else ""
    return f"conversation = {{conversation:String}}{one} AND {_TEXT_IS_THERE}"


def count(admin: ArchiveAdmin, selection: Selection) -> int:
    """How many of these messages have a text."""
    text = f"SELECT count() FROM archive.messages FINAL WHERE {_where(selection)} {_FINAL}"
    return int(admin.query(text, selection._asdict())[0][0])


def find(admin: ArchiveAdmin, selection: Selection) -> list[Erasable]:
    """Some of these messages that have a text."""
    text = (
        "SELECT conversation, seq, key, sender, toUnixTimestamp64Milli(time) "
        f"FROM archive.messages FINAL WHERE {_where(selection)} "
        f"ORDER BY conversation, seq LIMIT {_AT_ONCE} {_FINAL}"
    )
    return [Erasable(*row) for row in admin.query(text, selection._asdict())]


def are_gone(admin: ArchiveAdmin, messages: Sequence[Erasable]) -> bool:
    """Whether none of these has a text any more."""
    text = (
        "SELECT count() FROM archive.messages FINAL WHERE (conversation, seq) IN "
        "arrayZip({names:Array(String)}, {seqs:Array(UInt64)}) "
        f"AND {_TEXT_IS_THERE} {_FINAL}"
    )
    named = {"names": [one.conversation for one in messages], "seqs": [one.seq for one in messages]}
    return not int(admin.query(text, named)[0][0])


def note(admin: ArchiveAdmin, run: Run, selection: Selection, messages: int) -> None:
    """Write down that the run has erased so many."""
    admin.run(
        "INSERT INTO archive.erasures (id, began, who, reason, what, messages) "
        "SELECT {id:String}, fromUnixTimestamp64Milli({began:Int64}), {who:String}, "
        "{reason:String}, {what:String}, {messages:UInt64}",
        {**run._asdict(), "what": selection.name, "messages": messages},
    )


def merge(admin: ArchiveAdmin, months: Sequence[str]) -> None:
    """Take the old texts of these months (YYYYMM) off the disk."""
    for month in months:
        admin.run(f"OPTIMIZE TABLE archive.messages PARTITION {int(month)} FINAL")
