"""The OpenAPI document of the HTTP requests that devices, people and operators make, from the
structs of their bodies. `make docs` writes docs/openapi.json; a gateway serves the same."""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from gateway.edge import http_types
from gateway.edge.problems import CONTENT_TYPE, ProblemDetails
from gateway.queries.user_status import UserStatus
from schemas.frames import MAX_PAGE_MESSAGES, Message, Person, Privacy, Sent
from schemas.ids import DEVICE_PATTERN, USER_PATTERN

MAX_CONVERSATIONS = 50
"""Conversations in one answer."""
PATH = "/v1/openapi.json"

_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = 403, 408, 500, 503
"""403: local mode answers no foreign page. 503: no room for one more connection."""
_OF_TOKENS = {"": (), "operator": (401,), "status": (401,), "user": (401, 429)}
"""429: the user's quota."""
_LAST = 2**53 - 1


class _Parameter(NamedTuple):
    """Of the query; `required` ones have no default."""

    name: str
    schema: dict[str, Any]
    required: bool = False


class Operation(NamedTuple):
    """One request: what it takes, what it answers, and the statuses of its problems besides those
    of every request. `answer` is a struct, or the type of a content that none describes. `token`
    names who may make it: `user`, `operator`, `status` (of who looks after the node), or nobody in
    particular (empty). With status 503 an `unwell` one has the same answer."""

    method: str
    path: str
    about: str
    token: str
    status: int
    answer: type[msgspec.Struct] | str | None
    problems: tuple[int, ...] = ()
    query: tuple[_Parameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    unwell: bool = False
    deprecated: bool = False


def _number(name: str, least: int, most: int) -> _Parameter:
    return _Parameter(name, {"type": "integer", "minimum": least, "maximum": most})


_BODY = 400, 413, 415
_SENDING = (*_BODY, 409, 422)
_MESSAGE_PATH = "/v1/conversations/{conversation}/messages/{seq}"
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/v1/messages",
        "Send a message; the answer says which number it has",
        "user",
        200,
        Sent,
        _SENDING,
        body=http_types.NewMessage,
    ),
    Operation(
        "post",
        "/v1/messages/batch",
        "Send messages in order; the answers say what became of each",
        "user",
        200,
        http_types.Answers,
        _BODY,
        body=http_types.NewMessages,
    ),
    Operation(
        "patch",
        _MESSAGE_PATH,
        "Give an own message a new text, for everybody",
        "user",
        200,
        Sent,
        _SENDING,
        body=http_types.NewText,
    ),
    Operation(
        "delete",
        _MESSAGE_PATH,
        "Take an own message away, from everybody",
        "user",
        200,
        Sent,
        _SENDING,
        body=http_types.Deletion,
    ),
    Operation(
        "get",
        "/v1/conversations",
        "The user's conversations, last written first",
        "user",
        200,
        http_types.Conversations,
        (400,),
        (
            _Parameter("before", {"type": "string"}),
            _number("limit", 1, MAX_CONVERSATIONS),
        ),
    ),
    Operation(
        "get",
        "/v1/conversations/{conversation}/messages",
        "The newest messages below `before`, or the oldest above `after`; else the newest",
        "user",
        200,
        http_types.Messages,
        (400, 410),
        (
            _number("before", 1, _LAST),
            _number("after", 0, _LAST),
            _number("limit", 1, MAX_PAGE_MESSAGES),
        ),
    ),
    Operation("get", "/v1/devices", "The user's devices", "user", 200, http_types.Devices),
    Operation("delete", "/v1/devices/{device}", "Log a device out", "user", 202, None, (400,)),
    Operation(
        "get",
        "/v1/people",
        "What the user has decided about others",
        "user",
        200,
        http_types.PeopleList,
    ),
    Operation(
        "put",
        "/v1/people/{user}",
        "Block another user, have them as a contact, or decline their request; or no more",
        "user",
        200,
        Person,
        (*_BODY, 409),
        body=http_types.Deciding,
    ),
    Operation(
        "put",
        "/v1/privacy",
        "What the user shows to others",
        "user",
        200,
        Privacy,
        (*_BODY, 409),
        body=http_types.Showing,
    ),
    Operation(
        "get",
        "/v1/node",
        "The gateway where a user's devices should meet",
        "",
        200,
        http_types.NodeFound,
        (400,),
        (_Parameter("user", {"type": "string", "pattern": f"^{USER_PATTERN}$"}, True),),
    ),
    Operation(
        "post",
        "/v1/login",
        "A token for a name, in local mode only",
        "",
        200,
        http_types.LoggedIn,
        _BODY,
        body=http_types.LoginByName,
    ),
    Operation(
        "post",
        "/v1/operator/revocations",
        "Revoke the tokens of a user or device",
        "operator",
        202,
        http_types.Revoked,
        _BODY,
        body=http_types.Revoke,
    ),
    Operation(
        "post",
        "/v1/operator/drain",
        "Have the node send its devices away and end",
        "operator",
        202,
        http_types.Draining,
    ),
    Operation(
        "post",
        "/v1/operator/disconnections",
        "Close the connections of a user or device",
        "operator",
        202,
        http_types.Disconnect,
        _BODY,
        body=http_types.Disconnect,
    ),
    Operation(
        "post",
        "/v1/operator/messages",
        "Send messages in the name of a service",
        "operator",
        200,
        http_types.Answers,
        (*_BODY, 429),
        body=http_types.ServiceMessages,
    ),
    Operation(
        "get",
        "/v1/operator/users/{user}",
        "Where a user's devices are, and what is revoked",
        "operator",
        200,
        UserStatus,
        (400,),
    ),
    Operation("get", "/health", "Whether the node works", "", 200, http_types.Health, unwell=True),
    Operation(
        "get", "/ready", "Whether devices may come", "", 200, http_types.Readiness, unwell=True
    ),
    Operation("get", "/metrics", "Figures for Prometheus", "status", 200, "text/plain"),
    Operation("get", PATH, "This document", "", 200, "application/json"),
)
_FORMER = {"/v1/operator/revocations": "/v1/revocations", "/v1/operator/drain": "/v1/drain"}
OPERATIONS += tuple(
    one._replace(path=_FORMER[one.path], deprecated=True)
    for one in OPERATIONS
    if one.path in _FORMER
)
"""Under their former paths, too."""
_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "conversation": {"type": "string", "pattern": f"^{USER_PATTERN}:{USER_PATTERN}$"},
    "device": {"type": "string", "pattern": f"^{DEVICE_PATTERN}$"},
    "seq": {"type": "integer", "minimum": 1, "maximum": _LAST},
    "user": {"type": "string", "pattern": f"^{USER_PATTERN}$"},
}


def openapi() -> dict[str, Any]:
    """The document."""
    structs = [
        one
        for each in OPERATIONS
        for one in (each.answer, each.body)
        if one is not None and not isinstance(one, str)
    ]
    _, schemas = msgspec.json.schema_components(
        [*structs, ProblemDetails, Message], ref_template=_REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Messenger",
            "version": "1",
            "description": "docs/PROTOCOL.md says what the answers mean.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                who: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
                for who in ("user", "operator", "status")
            },
        },
    }


def document() -> bytes:
    """The document as it is served and kept."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=2) + b"\n"


def _operation(one: Operation) -> dict[str, Any]:
    fine: dict[str, Any] = {"description": HTTPStatus(one.status).phrase}
    if isinstance(one.answer, str):
        fine["content"] = {one.answer: {}}
    elif one.answer is not None:
        fine["content"] = {"application/json": {"schema": _reference(one.answer)}}
    statuses = {*_ALWAYS, *one.problems, *_OF_TOKENS[one.token]}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", one.path)
    ] + [
        {"name": each.name, "in": "query", "required": each.required, "schema": each.schema}
        for each in one.query
    ]
    told: dict[str, Any] = {
        "summary": one.about,
        "security": [{one.token: []}] if one.token else [],
        "responses": {str(one.status): fine}
        | {str(status): _problem(status) for status in sorted(statuses)},
    }
    if one.unwell:
        told["responses"]["503"]["content"] |= fine["content"]
    if one.deprecated:
        told["deprecated"] = True
    if parameters:
        told["parameters"] = parameters
    if one.body is not None:
        content = {"application/json": {"schema": _reference(one.body)}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {CONTENT_TYPE: {"schema": _reference(ProblemDetails)}},
    }


def _reference(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}
