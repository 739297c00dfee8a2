"""The archive as user `analyst`: the views of docs/DATA.md, read only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import clickhouse_connect

from connectors.clickhouse.client import FAILURES, Address, translated

_SECONDS = 60.0
"""What the user's profile lets a query take at most (ops/clickhouse/users.xml)."""


class Answer(NamedTuple):
    """What a query returns: the names of its columns, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Analyst:
    """All methods raise ArchiveUnavailable, ArchiveRefused. Close it, or use it by `with`."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        with self._errors():
            self._client = clickhouse_connect.get_client(**self.address.options(_SECONDS))

    def __enter__(self) -> "Analyst":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, query: str, parameters: dict[str, Any]) -> Answer:
        """`parameters` fill `{name:Type}` in the query."""
        with self._errors():
            found = self._client.query(query, parameters)
            return Answer(found.column_names, found.result_rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise translated(self.address, error) from None
