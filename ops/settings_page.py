"""`python -m ops.settings_page` writes docs/SETTINGS.md from the settings structs."""

import ast
import inspect
from pathlib import Path
from textwrap import dedent, wrap
from typing import Any

import msgspec

from connectors.environment import PREFIX
from ops.settings import kinds

PAGE = Path(__file__).resolve().parents[1] / "docs" / "SETTINGS.md"

_HEAD = """\
# Settings

`make docs` writes this page from the settings structs of the code; do not edit it.

A setting is a variable of the environment, or a key of a settings file in TOML, which
`messenger --settings FILE …` or MESSENGER_SETTINGS names. In the file, MESSENGER_HTTP_PORT is the
key `http_port`. One file may serve all processes: each takes what it knows. The environment wins.

A secret need not be in either: MESSENGER_TOKEN_SECRET_FILE, or the key `token_secret_file`, names a
file that holds the value of MESSENGER_TOKEN_SECRET. So it is for every setting.

A process checks its settings before it does anything else. If a value is wrong, a key of the file
is unknown, or a variable is nearly a setting, it ends with exit code 2 and a line that names the
variable, or the file and the key, and what is allowed.
"""


class Undescribed(ValueError):
    """A setting without a docstring in any struct."""


def settings_page() -> str:
    """The text of docs/SETTINGS.md. Raises Undescribed."""
    descriptions: dict[str, str] = {}
    users: dict[str, list[str]] = {}
    shown: dict[str, list[tuple[str, str]]] = {}
    for kind, command in kinds().items():
        for name, text in _docstrings(kind).items():
            descriptions.setdefault(name, text)
        for field in msgspec.structs.fields(kind):
            users.setdefault(field.name, []).append(command)
            shown.setdefault(field.name, []).append((_allowed(kind, field.name), _default(field)))
    if missing := sorted(set(users) - set(descriptions)):
        raise Undescribed(f"settings without a docstring: {', '.join(missing)}")
    lines = [*_HEAD.splitlines()]
    for name in sorted(users):
        lines += ["", f"## {PREFIX}{name.upper()}", "", *wrap(descriptions[name], 100), ""]
        told: dict[tuple[str, str], list[str]] = {}
        for command, one in zip(users[name], shown[name], strict=True):
            told.setdefault(one, []).append(command)
        lines += ["| `messenger …` | allowed | default |", "|---|---|---|"]
        lines += [
            f"| {', '.join(commands)} | {allowed} | {default} |"
            for (allowed, default), commands in told.items()
        ]
    return "\n".join(lines) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be set"
    return "unset" if field.default in (None, "") else f"`{_plain(field.default)}`"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(kind: type[msgspec.Struct], name: str) -> str:
    """What JSON Schema says of a field, in words."""
    _, components = msgspec.json.schema_components([kind])
    field = components[kind.__name__]["properties"][name]
    options = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    return " or ".join(_words(option) for option in options)


_BOUNDS = {
    "minimum": "≥ {:g}",
    "exclusiveMinimum": "> {:g}",
    "maximum": "≤ {:g}",
    "exclusiveMaximum": "< {:g}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "like `{}`",
}


def _words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    names = {"boolean": "`true` or `false`", "string": "text", "integer": "whole number"}
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return ", ".join([names.get(schema["type"], schema["type"]), *bounds])


def _docstrings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The string below each field, which Python does not keep."""
    (tree,) = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = " ".join(str(after.value.value).split())
    return found


if __name__ == "__main__":
    PAGE.write_text(settings_page())
