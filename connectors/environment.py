"""Settings from the environment: one frozen, validated object a process, or a clear refusal to
start."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

import msgspec

PREFIX = "MESSENGER_"

_SIMILAR = 0.8
"""Of 1: as similar as a name and one with a slip in it. MESSENGER_CLICKHOUSE and
MESSENGER_CLICKHOUSE_ADMIN, both of which may be set, are less."""

_Settings = TypeVar("_Settings", bound=msgspec.Struct)


class SettingsError(ValueError):
    """A setting that is missing or out of range; the text names the variable and what is wrong."""


def load(kind: type[_Settings], environ: Mapping[str, str]) -> _Settings:
    """`kind` filled from variables MESSENGER_<FIELD>; defaults and bounds are those of the struct.

    Raises SettingsError for a wrong value, and for a variable that is none of these but nearly. (A
    variable that is unlike all of these belongs to another process.)
    """
    _refuse_misspelt([PREFIX + field.upper() for field in kind.__struct_fields__], environ)
    values = {
        field: environ[PREFIX + field.upper()]
        for field in kind.__struct_fields__
        if environ.get(PREFIX + field.upper())
    }
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        for field in kind.__struct_fields__:
            text = text.replace(f"$.{field}", PREFIX + field.upper()).replace(
                f"`{field}`", PREFIX + field.upper()
            )
        raise SettingsError(text.replace("Object missing required field", "not set:")) from None


def _refuse_misspelt(known: list[str], environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            meant = get_close_matches(
                name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1, _SIMILAR
            )
            if meant and not name.startswith(f"{PREFIX}{meant[0]}_"):  # else it is a longer name
                raise SettingsError(f"{name} is not a setting; {PREFIX}{meant[0]} is")
