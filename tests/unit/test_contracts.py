"""The records that others read: their schemas, and what of them may never change."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from ops.record_schemas import CONTRACTS, record_schema
from schemas import events
from tests.golden.keep import keeps, kept, promise

GOLDEN = [json.loads(line) for line in kept()]


@pytest.mark.parametrize("topic", CONTRACTS)
def test_what_was_ever_promised_is_kept(topic: str) -> None:
    now = promise(CONTRACTS[topic])
    earlier = [one["decoded"] for one in GOLDEN if one["kind"] == f"contract {topic}"]
    assert earlier, "python -m tests.golden keeps it"
    for then in earlier:
        assert keeps(now, then)


@pytest.mark.parametrize("topic", CONTRACTS)
def test_every_record_that_was_ever_written_fits_the_schema(topic: str) -> None:
    validator = jsonschema.Draft202012Validator(record_schema(topic))
    records = [one for one in GOLDEN if one["kind"] == f"record {CONTRACTS[topic].__name__}"]
    assert records
    for record in records:
        validator.validate(record["decoded"])


@pytest.mark.parametrize("topic", CONTRACTS)
def test_what_fits_the_schema_has_every_field(topic: str) -> None:
    validator = jsonschema.Draft202012Validator(record_schema(topic))
    *_, newest = (one for one in GOLDEN if one["kind"] == f"record {CONTRACTS[topic].__name__}")
    assert not validator.is_valid(newest["decoded"][:1])
    assert not validator.is_valid(["1", *newest["decoded"][1:]])


Field = tuple[str, Any, Any]
"""Name, type and default."""
NO_DEFAULT = msgspec.NODEFAULT


def _promise(fields: list[Field], name: str = "Taken") -> Any:
    return promise(msgspec.defstruct(name, fields, array_like=True))


def _fields(record: type[msgspec.Struct]) -> list[Field]:
    return [(one.name, one.type, one.default) for one in msgspec.structs.fields(record)]


TAKEN = _fields(events.Taken)
"""Its last field is `changes`, its first `offset`."""
NOW = _promise(TAKEN)


def test_a_contract_may_get_an_optional_field_behind_the_others() -> None:
    assert keeps(_promise([*TAKEN, ("added", str, "")]), NOW)
    assert not keeps(NOW, _promise([*TAKEN, ("added", str, "")]))


@pytest.mark.parametrize(
    "fields",
    [
        TAKEN[:-1],
        TAKEN[1:],
        [("offset", str, NO_DEFAULT), *TAKEN[1:]],
        [("offset", int | None, NO_DEFAULT), *TAKEN[1:]],
        [("place", int, NO_DEFAULT), *TAKEN[1:]],
        [("added", int, NO_DEFAULT), *TAKEN],
        [TAKEN[1], TAKEN[0], *TAKEN[2:]],
        [*TAKEN[:-1], ("changes", events.Changed | str | None, None)],
    ],
    ids=["last removed", "removed", "retyped", "widened", "renamed", "required", "moved", "union"],
)
def test_a_contract_may_not_change_otherwise(fields: list[Field]) -> None:
    assert not keeps(_promise(fields), NOW)


def test_a_contract_may_get_another_kind_of_event() -> None:
    class Event(msgspec.Struct, array_like=True, tag=99):
        user: str

    more = _promise([("version", int, NO_DEFAULT), ("events", list[events.Delivered | Event], [])])
    now = _promise([("version", int, NO_DEFAULT), ("events", list[events.Delivered], [])])
    assert keeps(more, now)
    assert not keeps(now, more)
