"""What `messenger audit` asks ClickHouse, as large as it may be."""

import pytest

from connectors.clickhouse.survey import MOST, ArchiveSurvey, Digested
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real


def test_a_question_about_as_many_of_the_longest_names_as_it_may_have_is_answered(
    clickhouse: ClickHouse,
) -> None:
    names = [f"{'a' * 64}:{number:064}" for number in range(MOST)]
    messages = [Digested(name, 2**53 - 1, 2**64 - 1, 0) for name in names]
    survey = ArchiveSurvey(clickhouse.url("admin"))
    assert not survey.are_right(messages)
    assert (survey.contents(messages), survey.last_numbers(names)) == ({}, {})
    assert survey.cursors([(name, name[:64], "received") for name in names]) == {}
    survey.close()
