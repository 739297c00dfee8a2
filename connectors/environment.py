"""Settings from a file and from the environment: one frozen, validated object a process, or a
clear refusal to start."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

PREFIX = "MESSENGER_"
FILE = "MESSENGER_SETTINGS"
"""Names the settings file, in TOML."""

_SIMILAR = 0.8
"""Of 1: as similar as a name and one with a slip in it. MESSENGER_CLICKHOUSE and
MESSENGER_CLICKHOUSE_ADMIN, both of which may be set, are less."""

_Settings = TypeVar("_Settings", bound=msgspec.Struct)


class SettingsError(ValueError):
    """A setting that is missing or out of range; the text names the variable, or the file and the
    key, and what is wrong."""


class _Given(NamedTuple):
    where: str
    """How an error names it."""
    value: Any


def load(
    kind: type[_Settings],
    environ: Mapping[str, str],
    others: Callable[[], Iterable[str]] = tuple,
) -> _Settings:
    """`kind` filled from the keys <field> of the settings file that MESSENGER_SETTINGS names, and
    from variables MESSENGER_<FIELD>, which win. <field>_file names a file that holds the value.
    Defaults and bounds are those of the struct. `others` tells the fields of other processes, whose
    keys the settings file may have.

    Raises SettingsError for all that must be set and is not, for a wrong value, for an unknown key,
    and for a variable that is none of these but nearly. (A variable that is unlike all of these
    belongs to another process.)
    """
    fields = kind.__struct_fields__
    _refuse_misspelt([PREFIX + field.upper() for field in fields] + [FILE], environ)
    variables = {
        name.removeprefix(PREFIX).lower(): _Given(name, value)
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }
    given = {
        **_resolved(fields, _read(environ.get(FILE, ""), fields, others)),
        **_resolved(fields, variables),
    }
    required = (field.name for field in msgspec.structs.fields(kind) if field.required)
    if missing := [PREFIX + name.upper() for name in required if name not in given]:
        raise SettingsError(f"not set: {', '.join(missing)}")
    try:
        return msgspec.convert({field: g.value for field, g in given.items()}, kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        for field in fields:
            where = given[field].where if field in given else PREFIX + field.upper()
            text = text.replace(f"$.{field}`", f"{where}`").replace(f"`{field}`", where)
        raise SettingsError(text) from None


def _read(
    path: str, fields: Iterable[str], others: Callable[[], Iterable[str]]
) -> dict[str, _Given]:
    """The keys of the settings file, of which there need be none."""
    if not path:
        return {}
    try:
        keys = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{FILE}: {path}: {error}") from None
    if strange := set(keys) - _with_files(fields):
        for key in sorted(strange - _with_files(known := [*fields, *others()])):
            meant = get_close_matches(key, known, 1, _SIMILAR)
            raise SettingsError(
                f"{path}: {key} is not a setting; " + (f"{meant[0]} is" if meant else _ALL)
            )
    return {key: _Given(f"{path}: {key}", value) for key, value in keys.items()}


_ALL = "docs/SETTINGS.md has them all"


def _with_files(fields: Iterable[str]) -> set[str]:
    return {name for field in fields for name in (field, f"{field}_file")}


def _resolved(fields: Iterable[str], given: Mapping[str, _Given]) -> dict[str, _Given]:
    """What is given of `fields`, by itself or in a file."""
    found = {}
    for field in fields:
        by_value, by_file = given.get(field), given.get(f"{field}_file")
        if f"{field}_file" in fields:  # that is a setting of its own
            by_file = None
        if by_value and by_file:
            raise SettingsError(f"both {by_value.where} and {by_file.where} are set")
        if by_value:
            found[field] = by_value
        elif by_file:
            try:
                text = Path(by_file.value).read_text().strip()
            except (OSError, UnicodeDecodeError, TypeError) as error:
                raise SettingsError(f"{by_file.where}: {error}") from None
            found[field] = _Given(f"{by_file.where} ({by_file.value})", text)
    return found


def _refuse_misspelt(known: list[str], environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            meant = get_close_matches(
                name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1, _SIMILAR
            )
            if meant and not name.startswith(f"{PREFIX}{meant[0]}_"):  # else it is a longer name
                raise SettingsError(f"{name} is not a setting; {PREFIX}{meant[0]} is")
