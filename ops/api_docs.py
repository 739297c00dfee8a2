"""`python -m ops.api_docs` writes the descriptions of the API that tools read: OpenAPI of the HTTP
requests, JSON Schema and AsyncAPI of the socket's frames, JSON Schema of Kafka's records."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec

from gateway.edge import openapi
from ops.record_schemas import CONTRACTS, record_schema
from schemas.frames import CURRENT_VERSION, Command, ServerFrame

_ROOT = Path(__file__).resolve().parents[1]
_EXAMPLES = _ROOT / "schemas" / "examples" / "v1"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def api_documents() -> dict[Path, bytes]:
    """Path → text of each document."""
    return {
        _ROOT / "docs" / "openapi.json": openapi.document(),
        _ROOT / "docs" / "frames.schema.json": _text(frames_schema()),
        _ROOT / "docs" / "asyncapi.json": _text(asyncapi()),
        **{
            _ROOT / "docs" / f"{topic}.schema.json": _text(record_schema(topic))
            for topic in CONTRACTS
        },
    }


def frames_schema() -> dict[str, Any]:
    """`Command` is what a device sends, `ServerFrame` what it receives."""
    (command, server), schemas = msgspec.json.schema_components(
        [Command, ServerFrame], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": _DIALECT,
        "title": f"Frames of protocol version {CURRENT_VERSION}",
        "anyOf": [{"$ref": "#/$defs/Command"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": {**schemas, "Command": command, "ServerFrame": server},
    }


def asyncapi() -> dict[str, Any]:
    """The socket, from the server's side: it receives commands and sends the other frames."""
    frames = {"commands": get_args(Command), "server-frames": get_args(ServerFrame)}
    _, schemas = msgspec.json.schema_components(
        [Command, ServerFrame], ref_template="#/components/schemas/{name}"
    )
    told = {kind.__name__: _message(kind, side) for side, kinds in frames.items() for kind in kinds}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Messenger: frames of the socket",
            "version": str(CURRENT_VERSION),
            "description": "A WebSocket message is text, and carries one or more frames, one a "
            "line. docs/PROTOCOL.md says how to use them.",
        },
        "channels": {
            "socket": {
                "address": "/v1/socket",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in told},
            }
        },
        "operations": {
            "receive": _operation("receive", frames["commands"]),
            "send": _operation("send", frames["server-frames"]),
        },
        "components": {"messages": told, "schemas": schemas},
    }


def _operation(action: str, kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{kind.__name__}"} for kind in kinds],
    }


def _message(kind: type[msgspec.Struct], side: str) -> dict[str, Any]:
    tag = kind.__struct_config__.tag
    told: dict[str, Any] = {
        "name": tag,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
    examples = [
        json.loads(line)
        for path in sorted(_EXAMPLES.glob(f"{side}--*.json"))
        for line in json.loads(path.read_text())["text"].splitlines()
    ]
    if mine := [{"payload": one} for one in examples if one["t"] == tag]:
        told["examples"] = mine
    return told


def _text(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


if __name__ == "__main__":
    for path, text in api_documents().items():
        path.write_bytes(text)
