"""Settings from the environment: one frozen, validated object a process, or a clear refusal to
start."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

PREFIX = "MESSENGER_"

_Settings = TypeVar("_Settings", bound=msgspec.Struct)


class SettingsError(ValueError):
    """A setting that is missing or out of range; the text names the variable and what is wrong."""


def load(kind: type[_Settings], environ: Mapping[str, str]) -> _Settings:
    """`kind` filled from variables MESSENGER_<FIELD>; defaults and bounds are those of the struct.
    Raises SettingsError."""
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
