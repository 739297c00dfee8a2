"""JSON Schema of the records that are a contract with others, from the structs that encode them."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from schemas.events import DeliveryRecord, LogRecord, NotificationRecord
from schemas.topics import DELIVERIES, LOG, NOTIFICATIONS

CONTRACTS: dict[str, type[msgspec.Struct]] = {
    LOG: LogRecord,
    DELIVERIES: DeliveryRecord,
    NOTIFICATIONS: NotificationRecord,
}
"""Topic → record. Other teams read `messages` and `notifications`; a gateway of somebody else's
reads `deliveries`."""


def record_schema(topic: str) -> dict[str, Any]:
    """The schema of a topic's records, written as JSON: bytes are base64 there."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A record of the topic {topic}",
        **schema_of(CONTRACTS[topic]),
    }


def schema_of(record: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct that is encoded as an array. The title of an element is the name of
    its field; `kind` is the number that begins an element of a union."""
    (root,), schemas = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    for struct in _structs(inspect.type_info(record)):
        names = [field.encode_name for field in struct.fields]
        if struct.tag is not None:
            names.insert(0, "kind")
        elements = schemas[struct.cls.__name__]["prefixItems"]
        for name, element in zip(names, elements, strict=True):
            element["title"] = name
    return {**root, "$defs": schemas}


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """Every struct in a type, those in its fields included."""
    match kind:
        case inspect.StructType():
            yield kind
            for field in kind.fields:
                yield from _structs(field.type)
        case inspect.UnionType():
            for one in kind.types:
                yield from _structs(one)
        case inspect.ListType() | inspect.VarTupleType():
            yield from _structs(kind.item_type)
