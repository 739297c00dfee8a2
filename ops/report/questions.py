"""What a report asks the archive, and how each answer is drawn."""

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

_RANGE = "since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}"

_WITHIN = {"p50": "half of them within", "p90": "90 % within", "p99": "99 % within"}


class Drawn(Enum):
    """A table draws nothing."""

    BARS = "bars"
    LINES = "lines"
    TABLE = "table"


class Question(NamedTuple):
    """The first column of the answer is the x axis, and each other one is a line. `unit` is the y
    axis'. `by_tens`: the axis is logarithmic. `words` name a line for a reader."""

    name: str
    title: str
    text: str
    query: str
    drawn: Drawn
    unit: str = ""
    by_tens: bool = False
    words: Mapping[str, str] = MappingProxyType({})


QUESTIONS: Sequence[Question] = (
    Question(
        "messages",
        "Messages a day",
        "Each message counts once, on the day (UTC) on which it was sent.",
        f"SELECT day, messages FROM archive.activity_by_day({_RANGE})",
        Drawn.BARS,
        "messages",
    ),
    Question(
        "hours",
        "Messages by the hour of the day",
        "All days of the report together, in UTC.",
        "SELECT toHour(hour) AS hour_of_day, sum(messages) AS messages "
        f"FROM archive.messages_by_hour({_RANGE}) "
        "GROUP BY hour_of_day ORDER BY hour_of_day WITH FILL FROM 0 TO 24",
        Drawn.BARS,
        "messages",
    ),
    Question(
        "people",
        "People and conversations a day",
        "A sender has sent a message that day, a recipient was sent one. A conversation is new on "
        "the day of its first message.",
        "SELECT day, senders, recipients, pairs, new_conversations "
        f"FROM archive.activity_by_day({_RANGE})",
        Drawn.LINES,
        words={"pairs": "conversations", "new_conversations": "new conversations"},
    ),
    Question(
        "delivery",
        "From sent to delivered",
        "Messages to people who were offline count, too: their 99 % is the time until they came "
        "back.",
        "SELECT day, delivered_p50_ms AS p50, delivered_p99_ms AS p99 "
        f"FROM archive.latency_by_day({_RANGE}) WHERE were_delivered > 0",
        Drawn.LINES,
        "ms",
        by_tens=True,
        words=_WITHIN,
    ),
    Question(
        "reading",
        "From sent to read",
        "Whoever writes has read all before it. Messages that nobody has read yet do not count.",
        "SELECT day, read_p50_ms / 1000 AS p50, read_p99_ms / 1000 AS p99 "
        f"FROM archive.latency_by_day({_RANGE}) WHERE were_read > 0",
        Drawn.LINES,
        "s",
        by_tens=True,
        words=_WITHIN,
    ),
    Question(
        "answers",
        "How soon people answer",
        "An answer is a message that follows one of the other user.",
        f"SELECT day, p50_seconds AS p50, p90_seconds AS p90 FROM archive.answers_by_day({_RANGE})",
        Drawn.LINES,
        "s",
        by_tens=True,
        words=_WITHIN,
    ),
    Question(
        "retention",
        "Senders who stay",
        "Of the senders who began in the first weeks of the report, how many wrote so many weeks "
        "later.",
        "SELECT weeks_later, sum(senders) AS senders "
        f"FROM archive.retention_by_week({_RANGE}) GROUP BY weeks_later ORDER BY weeks_later",
        Drawn.BARS,
        "senders",
    ),
    Question(
        "lengths",
        "Conversations by length",
        "How many conversations have so many messages, from the first one ever.",
        "SELECT concat(toString(messages_from), '–', toString(messages_to)) AS length, "
        "conversations FROM archive.conversation_lengths",
        Drawn.BARS,
        "conversations",
    ),
    Question(
        "repeats",
        "Rows that were inserted again",
        "After a crash the archiver inserts some rows again. All figures here count each message "
        "once; ClickHouse drops the repeats in time.",
        "SELECT toString(month) AS month, rows_there, messages, repeats FROM archive.repeats",
        Drawn.TABLE,
    ),
    Question(
        "gaps",
        "Conversations that lack a number",
        "There must be none: no row stands below. Else tell the operator, who runs `messenger "
        "archive check`.",
        "SELECT conversation, first, last, missing FROM archive.gaps LIMIT 20",
        Drawn.TABLE,
    ),
    Question(
        "freshness",
        "How fresh this is",
        "The time of the newest message, of the newest mark, and of the newest daily count.",
        "SELECT what, nullIf(up_to, toDateTime64(0, 3)) AS up_to, asked FROM archive.freshness",
        Drawn.TABLE,
    ),
)
