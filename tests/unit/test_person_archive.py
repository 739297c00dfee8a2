"""Which conversations of a person are asked for together, and answers that are cut off."""

import contextlib
import io
from types import SimpleNamespace

import pytest

from connectors.clickhouse.person import _TOGETHER, PersonArchive, _together

PARAMETER_BYTES = 128 * 1024
"""ClickHouse takes no longer one."""


def test_conversations_that_are_asked_for_together_fit_into_a_parameter() -> None:
    """As long as names may be, and one message in each."""
    names = [f"{'a' * 64}:{number:064}" for number in range(_TOGETHER + 1)]
    asked = list(_together((name, 1) for name in names))
    assert [name for some in asked for name in some] == names
    assert max(len(str(some)) for some in asked) < PARAMETER_BYTES


def test_a_long_conversation_is_asked_for_alone() -> None:
    lengths = {"a": 1, "b": _TOGETHER - 1, "c": 1, "d": _TOGETHER + 1, "e": 1, "f": 1}
    assert list(_together(lengths.items())) == [["a", "b"], ["c"], ["d"], ["e", "f"]]


@pytest.mark.parametrize("end", [b'{"conver', b"Code: 241. DB::Exception: Memory limit\n"])
def test_an_answer_that_is_cut_off_is_an_error(end: bytes) -> None:
    """It was dropped without a word, or given out as a line."""
    archive = PersonArchive.__new__(PersonArchive)
    stream = io.BytesIO(b'{"conversation":"a:b"}\n' + end)
    client = SimpleNamespace(raw_stream=lambda *_, **__: contextlib.nullcontext(stream))
    archive._client = client  # type: ignore[assignment]
    lines = archive._lines("", "a", ["a:b"])
    assert next(lines) == b'{"conversation":"a:b"}\n'
    with pytest.raises(RuntimeError, match=r"within a line|DB::Exception"):
        next(lines)
