"""Samples of all that a version of schemas/events.py and schemas/worker_api.py can say: a value for
every field of every class, made from the annotations, so that a new class or field needs no sample
of its own. Prints a JSON line each: {"kind", "hex", "decoded"}.

It is run in the folder of that version, as a script: it must import nothing else of this one.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import msgspec.inspect as look

_TEXTS = {
    "conversation": "alice:bob",
    "sender": "alice",
    "user": "alice",
    "typist": "bob",
    "device": "phone",
    "node": "21be3ee9a688",
}
_NUMBERS = {"version": 1, "code": 110, "index": 0, "partition": 3}


def _of(name: str, kind: look.Type) -> list[Any]:
    """Values of a field: more than one if its type is a union."""
    if isinstance(kind, look.StructType):
        return [sample(kind.cls)]
    if isinstance(kind, look.UnionType):
        return [value for one in kind.types for value in _of(name, one)]
    if isinstance(kind, look.ListType | look.VarTupleType):
        some = _of(name, kind.item_type)
        return [tuple(some) if isinstance(kind, look.VarTupleType) else some]
    if isinstance(kind, look.TupleType):
        return [tuple(_of(name, one)[0] for one in kind.item_types)]
    if isinstance(kind, look.DictType):
        return [dict(zip(_of(name, kind.key_type), _of(name, kind.value_type), strict=False))]
    if isinstance(kind, look.StrType):
        return [_TEXTS.get(name.rstrip("s"), f"some {name}"[:60])]
    if isinstance(kind, look.BytesType):
        return [name.encode().ljust(16, b".")[:16]]
    if isinstance(kind, look.BoolType):
        return [True]
    if isinstance(kind, look.IntType | look.FloatType):
        return [_NUMBERS.get(name, sum(name.encode()))]
    if isinstance(kind, look.NoneType):
        return [None]
    if isinstance(kind, look.LiteralType):
        return [kind.values[0]]
    raise TypeError(f"no sample of {name}: {kind}")


def sample(cls: type) -> Any:
    """A value of a class, with a value in every field."""
    info = look.type_info(cls)
    assert isinstance(info, look.StructType)
    return cls(*(_of(field.name, field.type)[0] for field in info.fields))


def _samples(cls: type) -> Iterator[Any]:
    """One of every value of every field, the others being their first."""
    info = look.type_info(cls)
    assert isinstance(info, look.StructType)
    values = [_of(field.name, field.type) for field in info.fields]
    usual = [some[0] for some in values]
    yield cls(*usual)
    for place, some in enumerate(values):
        for other in some[1:]:
            yield cls(*usual[:place], other, *usual[place + 1 :])


def _structs(module: Any) -> Iterator[type[msgspec.Struct]]:
    for value in vars(module).values():
        ours = isinstance(value, type) and value.__module__ == module.__name__
        if ours and issubclass(value, msgspec.Struct) and not value.__name__.startswith("_"):
            yield value


def line(kind: str, encoded: bytes, value: Any) -> str:
    """What is kept of an encoded value."""
    decoded = json.loads(msgspec.json.encode(value))
    return json.dumps({"kind": kind, "hex": encoded.hex(), "decoded": decoded}, sort_keys=True)


def main() -> None:
    from schemas import events

    for cls in _structs(events):
        if cls.__struct_fields__[:1] == ("version",):
            for value in _samples(cls):
                print(line(f"record {cls.__name__}", msgspec.msgpack.encode(value), value))
    try:
        from schemas import worker_api
    except ImportError:
        return
    for cls in _structs(worker_api):
        for value in _samples(cls):
            print(line(f"worker {cls.__name__}", msgspec.json.encode(value), value))
    for name, answer in vars(worker_api).items():
        if name.endswith("Answer"):
            for value in _of(name, look.type_info(answer)):
                print(line(f"worker {name}", msgspec.json.encode(value), value))


if __name__ == "__main__":
    sys.path.insert(0, ".")
    main()
