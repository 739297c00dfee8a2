"""Answers of a gateway and golden frames fit the schemas that the documents give for them; a
validator that knows nothing of our structs judges."""

import asyncio
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.local_guard import BrowserGuard
from gateway.edge.openapi import document
from gateway.edge.socket import Sockets
from gateway.edge.tokens import issue, issue_operator
from gateway.metrics import NodeMetrics
from ops.api_docs import frames_schema
from schemas.ids import user_id
from tests.harness.memory_node import SECRET, World
from tests.harness.memory_sequencer import MemorySequencer

DOCUMENT = json.loads(document())
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
OPERATOR_SECRET = "o" * 32


def fits(schema: dict[str, Any], value: Any) -> None:
    root = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(root).validate(value)


class Served(NamedTuple):
    runner: asyncio.Runner
    app: web.Application
    url: str
    http: aiohttp.ClientSession
    tokens: dict[str, str]

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        async def asked() -> tuple[int, dict[str, str], bytes]:
            async with self.http.request(
                method, self.url + path, headers=headers, data=BytesIO(body) if body else None
            ) as answer:
                return answer.status, dict(answer.headers), await answer.read()

        return self.runner.run(asked())


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A node in local mode without workers, but for the sequencer's rules."""
    working: asyncio.Future[Any]

    async def claim(world: World) -> None:
        while True:
            await world.claim_people()
            await asyncio.sleep(1)

    async def start() -> tuple[Any, web.Application, web.AppRunner, str, aiohttp.ClientSession]:
        nonlocal working
        world = World()
        node = world.node(local=True, operator_secret=OPERATOR_SECRET)
        await node.start()
        working = asyncio.gather(MemorySequencer(world).run(), claim(world))
        admission = AdmissionControl(BrowserGuard(local=True))
        sockets = Sockets(node.node, admission.exit, 25.0)
        app = make_web_app(node.node, NodeMetrics(node.node, admission), sockets, lambda: None)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0])
        return node, app, runner, url, aiohttp.ClientSession()

    with asyncio.Runner() as loop:
        node, app, web_runner, url, http = loop.run(start())
        now = node.node.now() / 1000
        tokens = {
            "user": issue(user_id("alice"), SECRET, now),
            "bob": issue(user_id("bob"), SECRET, now),  # whose quota random requests do not use up
            "operator": issue_operator(OPERATOR_SECRET, now),
        }
        yield Served(loop, app, url, http, tokens)

        async def stop() -> None:
            working.cancel()
            await http.close()
            await web_runner.cleanup()
            await node.node.stop()

        loop.run(stop())


CHARACTERS = st.characters(exclude_categories=["Cs"])


def parameter(about: dict[str, Any]) -> st.SearchStrategy[str]:
    """What fits the document, and what may not."""
    schema = about["schema"]
    if schema["type"] == "integer":
        fitting = st.integers(schema["minimum"] - 1, schema["maximum"] + 1).map(str)
    else:
        fitting = st.from_regex(
            schema.get("pattern", ".*").replace("$", r"\Z"), alphabet=CHARACTERS
        )
    return fitting | st.text(CHARACTERS, min_size=1, max_size=20)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
MESSAGES = st.fixed_dictionaries(
    {
        "to": st.sampled_from(["carol", "Not A User", "alice"]) | JSON,
        "key": st.sampled_from(["0" * 32, "1" * 32]) | JSON,
        "body": st.text(CHARACTERS, max_size=5) | JSON,
    },
    optional={
        "outbox": st.sampled_from(["0" * 32, "f" * 32]) | JSON,
        "ordinal": st.integers(0, 3) | JSON,
    },
)
BODIES = (
    st.fixed_dictionaries(
        {"user": st.sampled_from(["carol", "Not A User"]) | JSON},
        optional={"device": st.just("phone") | JSON, "before": st.integers() | JSON},
    )
    | MESSAGES
    | st.fixed_dictionaries({"blocked": st.booleans()})
    | st.fixed_dictionaries(
        {"messages": st.lists(MESSAGES, max_size=3)}, optional={"from": st.just("news") | JSON}
    )
    | JSON
).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)


@settings(max_examples=50)
@given(data=st.data())
def test_each_answer_is_as_the_document_says(served: Served, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(OPERATIONS))
    operation = DOCUMENT["paths"][path][method]
    query = []
    for about in operation.get("parameters", []):
        if about["in"] == "path":
            value = data.draw(parameter(about).filter(lambda text: text not in (".", "..")))
            path = path.replace(f"{{{about['name']}}}", quote(value, safe=""))
        elif data.draw(st.booleans()):
            query.append(f"{about['name']}={quote(data.draw(parameter(about)), safe='')}")
    whose = next((name for one in operation["security"] for name in one), "")
    token = data.draw(st.sampled_from([served.tokens.get(whose, ""), "", "garbage"]))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = None
    if "requestBody" in operation:
        body = data.draw(BODIES)
        headers["Content-Type"] = data.draw(
            st.sampled_from(["application/json", "application/json", "text/plain"])
        )
    target = path + ("?" + "&".join(query) if query else "")
    status, had, answer = served.ask(method.upper(), target, headers, body)
    assert status != 500
    declared = operation["responses"][str(status)].get("content")
    if declared is None:
        assert answer == b""
        return
    content_type = had["Content-Type"].split(";")[0]
    assert content_type in declared
    if "schema" in declared[content_type]:
        value = json.loads(answer)
        fits(declared[content_type]["schema"], value)
        assert value.get("status", status) == status


MESSAGE = {"to": "bob", "key": "5" * 32, "body": "hi"}


def post(
    served: Served, path: str, body: dict[str, Any], bearer: str | None = None
) -> tuple[int, Any]:
    headers = {
        "Authorization": f"Bearer {bearer or served.tokens['user']}",
        "Content-Type": "application/json",
    }
    for _ in range(50):
        status, _, answer = served.ask("POST", path, headers, json.dumps(body).encode())
        if status != 503:
            break
        # Its loop stands still between two requests: the node may have to get its slot again, and
        # the worker its partitions.
        served.runner.run(asyncio.sleep(0.1))
    value = json.loads(answer)
    declared = DOCUMENT["paths"][path]["post"]["responses"][str(status)]["content"]
    (schema,) = (one["schema"] for one in declared.values())
    fits(schema, value)
    return status, value


def test_a_message_is_answered_with_its_number_and_a_repeat_with_the_same(served: Served) -> None:
    status, sent = post(served, "/v1/messages", MESSAGE)
    assert status == 200, sent
    assert (sent["t"], sent["key"]) == ("sent", MESSAGE["key"])
    assert post(served, "/v1/messages", MESSAGE) == (200, sent)
    named = {**MESSAGE, "outbox": MESSAGE["key"], "ordinal": 1}
    assert post(served, "/v1/messages", named) == (200, sent)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"body": ""}, 422, 110),
        ({"body": "x" * 20_000, "key": "6" * 32}, 422, 111),
        ({"key": "7" * 32, "outbox": "7" * 32, "ordinal": 3}, 409, 146),
        ({"to": "alice"}, 400, 103),
        ({"ordinal": 1}, 400, 103),
        ({"key": "not a key"}, 400, 103),
        ({"body": 7}, 400, 103),
    ],
)
def test_what_is_not_sent_is_a_problem(
    served: Served, changed: dict[str, Any], status: int, code: int
) -> None:
    got, problem = post(served, "/v1/messages", {**MESSAGE, "key": "8" * 32, **changed})
    assert (got, problem["code"]) == (status, code)


def test_of_a_batch_each_message_has_its_own_answer(served: Served) -> None:
    batch = [
        {**MESSAGE, "key": f"{n:032x}", "outbox": "9" * 32, "ordinal": n, "body": body}
        for n, body in ((1, "one"), (2, ""), (4, "four"))
    ]
    status, told = post(served, "/v1/messages/batch", {"messages": batch})
    assert status == 200, told
    assert [one["t"] for one in told["answers"]] == ["sent", "refused", "out_of_step"]
    assert post(served, "/v1/messages/batch", {"messages": []})[0] == 400
    assert post(served, "/v1/messages/batch", {"messages": [MESSAGE] * 65})[0] == 400


def test_an_operator_sends_in_a_service_s_name_and_sees_where_it_is(served: Served) -> None:
    told = {"from": "news", "messages": [{**MESSAGE, "key": "e" * 32}]}
    assert post(served, "/v1/operator/messages", told, served.tokens["user"])[0] == 401
    status, answers = post(served, "/v1/operator/messages", told, served.tokens["operator"])
    assert status == 200, answers
    assert [one["conversation"] for one in answers["answers"]] == ["bob:news"]
    headers = {"Authorization": f"Bearer {served.tokens['operator']}"}
    status, _, body = served.ask("GET", "/v1/operator/users/news", headers)
    (device,) = json.loads(body)["devices"]
    assert (status, device["online"], device["device"][:5]) == (200, True, "http.")


@pytest.mark.parametrize("path", ["/v1/devices/%7B", "/v1/devices/a%2Fb", "/v1/devices/%00"])
def test_a_wrong_id_in_a_path_is_a_wrong_id(served: Served, path: str) -> None:
    headers = {"Authorization": f"Bearer {served.tokens['bob']}"}
    status, _, answer = served.ask("DELETE", path, headers)
    assert (status, json.loads(answer)["code"]) == (400, 103)


@pytest.mark.parametrize(
    ("path", "most"), [("/v1/conversations/alice:bob/messages", 100), ("/v1/conversations", 50)]
)
def test_a_limit_above_its_bound_is_refused_as_on_the_socket(
    served: Served, path: str, most: int
) -> None:
    token = {"Authorization": f"Bearer {served.tokens['bob']}"}
    assert served.ask("GET", f"{path}?limit={most}", token)[0] == 503  # there are no workers
    assert served.ask("GET", f"{path}?limit={most + 1}", token)[0] == 400


EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples" / "v1"
FRAMES = [
    pytest.param(path, kind, id=path.stem)
    for side, kind in (("commands", "Command"), ("server-frames", "ServerFrame"))
    for path in sorted(EXAMPLES.glob(f"{side}--*.json"))
]


@pytest.mark.parametrize(("path", "kind"), FRAMES)
def test_golden_frames_fit_their_schema_and_broken_ones_do_not(path: Path, kind: str) -> None:
    schema = {"$ref": f"#/$defs/{kind}", "$defs": frames_schema()["$defs"]}
    validator = Draft202012Validator(schema)
    for line in json.loads(path.read_text())["text"].splitlines():
        frame = json.loads(line)
        validator.validate(frame)
        assert not validator.is_valid({**frame, "t": "nonsense"})
        assert not validator.is_valid({name: frame[name] for name in frame if name != "t"})
