"""The worked queries of docs/DATA.md, and the made-up talk that they are shown on.

python -m tests.data_page     # writes the answers into docs/DATA.md
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from connectors.clickhouse.admin import ArchiveAdmin
from schemas.archive import DELIVERED, MESSAGE, READ, CursorRow, Row
from schemas.ids import conversation_of, user_id
from tests.harness.clickhouse import ClickHouse

PAGE = Path(__file__).parents[1] / "docs" / "DATA.md"
BEGIN = datetime(2026, 9, 28, tzinfo=UTC)
"""A Monday."""
WEEKS = 5
_HOUR = 3_600_000
_USERS = (
    *("ada", "ben", "cleo", "dan", "eva", "finn", "gwen", "hugo", "iris", "jon", "kim", "leo"),
    *("mia", "nils", "olga", "paul"),
)
_FORMAT = (
    " FORMAT PrettyCompactMonoBlock"
    " SETTINGS output_format_pretty_color = 0, output_format_pretty_row_numbers = 0"
    ", output_format_pretty_single_large_number_tip_threshold = 0"
)
_WORKED = re.compile(r"```sql\n(?P<query>.*?)```\n\n```\n(?P<answer>.*?)```", re.DOTALL)


class Talk(NamedTuple):
    messages: list[Row]
    cursors: list[CursorRow]


class Worked(NamedTuple):
    query: str
    answer: str


def talk() -> Talk:
    """Sixteen users over five weeks; some come later, and some stay away after a while. Always the
    same."""
    chance = Random(16)
    begin = int(BEGIN.timestamp() * 1000)
    first = {user: chance.choice((0, 0, 0, 7, 14)) for user in _USERS}
    last = {user: first[user] + chance.choice((6, 13, 35, 35)) for user in _USERS}
    lengths: dict[str, int] = {}
    found = Talk([], [])
    for day in range(7 * WEEKS):
        here = [user for user in _USERS if first[user] <= day <= last[user]]
        time = begin + day * 24 * _HOUR + 7 * _HOUR
        for _ in range(chance.randrange(15, 40) if day % 7 < 5 else chance.randrange(3, 10)):
            pair = chance.sample(here, 2)
            time += chance.randrange(60_000, 20 * 60_000)
            at = time
            for turn in range(chance.randrange(1, 6)):
                _say(found, lengths, chance, pair[turn % 2], pair[1 - turn % 2], at)
                at += chance.randrange(4_000, 240_000)
    return found


def _say(
    found: Talk, lengths: dict[str, int], chance: Random, sender: str, to: str, time: int
) -> None:
    conversation = conversation_of(user_id(sender), user_id(to))
    seq = lengths[conversation] = lengths.get(conversation, 0) + 1
    body = " ".join(["word"] * chance.randrange(1, 12))
    number = len(found.messages)
    found.messages.append(
        Row(
            conversation, seq, chance.randbytes(16), sender, "phone", body, time, MESSAGE, 0, number
        )
    )
    delivered = time + chance.choice((40, 60, 80, 120, 400, 2_000))
    found.cursors.append(CursorRow(conversation, to, DELIVERED, seq, delivered))
    if chance.random() < 0.8:
        read = delivered + chance.randrange(500, 90_000)
        found.cursors.append(CursorRow(conversation, to, READ, seq, read))


def load(admin: ArchiveAdmin) -> None:
    """Insert the talk, every block twice, as after a crash of the archiver."""
    made_up = talk()
    for table in ("messages", "cursors"):
        admin.run(f"SYSTEM STOP MERGES archive.{table}")
    for _ in range(2):
        admin.insert(made_up.messages)
        admin.insert_cursors(made_up.cursors)


def worked() -> Iterator[Worked]:
    """The queries of the page with their answers."""
    for match in _WORKED.finditer(PAGE.read_text()):
        yield Worked(match["query"], match["answer"])


def ask(server: ClickHouse, query: str) -> str:
    """The answer as the page shows it."""
    return server.ask("analyst", query.rstrip().rstrip(";") + _FORMAT) + "\n"


def _with_answers(text: str, answers: Iterable[str]) -> str:
    written = iter(answers)
    return _WORKED.sub(
        lambda match: f"```sql\n{match['query']}```\n\n```\n{next(written)}```", text
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ClickHouse(Path(folder))
        server.start()
        try:
            admin = ArchiveAdmin(server.url("admin"))
            admin.migrate(lambda _: None)
            load(admin)
            answers = [ask(server, one.query) for one in worked()]
        finally:
            server.stop()
    PAGE.write_text(_with_answers(PAGE.read_text(), answers))


if __name__ == "__main__":
    main()
