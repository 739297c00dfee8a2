"""The documents of the API are those of the code, and errors have one shape."""

import io
import re
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from gateway.edge import openapi
from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.pacer import Pacer, always
from gateway.edge.problems import CONTENT_TYPE, ProblemDetails, answer_problems
from gateway.edge.socket import Sockets
from gateway.metrics import NodeMetrics
from ops.api_docs import api_documents
from schemas.codes import Code
from tests.harness.memory_node import World


def test_the_documents_are_kept_as_they_are() -> None:
    for path, text in api_documents().items():
        assert path.read_bytes() == text, f"{path}: run `make docs`"


def test_references_of_the_documents_lead_somewhere() -> None:
    for path, text in api_documents().items():
        document = msgspec.json.decode(text)
        for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text.decode())):
            place = document
            for step in reference.split("/"):
                assert step in place, f"{path}: {reference}"
                place = place[step]


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    node = World().node()
    await node.start()
    sockets = Sockets(node.node, Pacer(always(100)), 25)
    metrics = NodeMetrics(node.node, AdmissionControl())
    app = make_web_app(node.node, metrics, sockets, lambda: None)
    async with TestClient(TestServer(app)) as client:
        yield client
    await node.node.stop()


async def test_every_request_of_the_api_is_described_and_served(
    client: TestClient[web.Request, web.Application],
) -> None:
    app = client.app
    assert app is not None
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    described = {(one.method, one.path) for one in openapi.OPERATIONS}
    assert described <= served
    assert {one for one in served - described if one[1].startswith("/v1/")} == {
        ("get", "/v1/socket"),
        *(
            ("head", one.path)
            for one in openapi.OPERATIONS
            if one.method == "get" and one.path.startswith("/v1/")
        ),
        ("head", "/v1/socket"),
    }
    answer = await client.get(openapi.PATH)
    assert await answer.read() == openapi.document()


async def test_the_page_s_files_are_served_and_no_others(
    client: TestClient[web.Request, web.Application],
) -> None:
    for name, status in (("app.js", 200), ("style.css", 200), ("..%2fpython%2fREADME.md", 404)):
        answer = await client.get(URL(f"/{name}", encoded=True))
        assert answer.status == status, name


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", b"", 404, Code.NOT_FOUND),
        ("PUT", "/v1/devices", b"", 405, Code.METHOD_NOT_ALLOWED),
        ("GET", "/v1/devices", b"", 401, Code.UNAUTHORIZED),
        ("GET", "/v1/node?user=Not+A+User", b"", 400, Code.BAD_FIELD),
        ("POST", "/v1/drain", b"", 401, Code.UNAUTHORIZED),
        ("POST", "/v1/revocations", b"{}", 401, Code.UNAUTHORIZED),
        ("POST", "/v1/login", b"{}", 403, Code.NOT_HERE),
        ("GET", "/v1/socket", b"", 400, Code.BAD_FIELD),
        ("GET", "/no/such/page", b"", 404, Code.NOT_FOUND),
    ],
)
async def test_every_error_is_a_problem(
    client: TestClient[web.Request, web.Application],
    method: str,
    path: str,
    body: bytes,
    status: int,
    code: Code,
) -> None:
    json_ = {"Content-Type": "application/json"}
    answer = await client.request(method, path, data=body, headers=json_)
    assert (answer.status, answer.content_type) == (status, CONTENT_TYPE)
    problem = msgspec.json.decode(await answer.read(), type=ProblemDetails)
    assert (problem.status, problem.code, problem.title) == (status, code.number, code.text)
    assert problem.type == f"urn:messenger:code:{code.number}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ("Allow" in answer.headers) == (status == 405)


async def test_a_fault_and_a_body_that_is_too_large_are_problems_without_their_text() -> None:
    async def fail(request: web.Request) -> web.Response:
        await request.read()
        raise RuntimeError("hush")

    app = web.Application(middlewares=[answer_problems])
    app.router.add_post("/", fail)
    async with TestClient(TestServer(app)) as client:
        for body, status, code in (
            (b"", 500, Code.FAILED),
            (bytes(2**21), 413, Code.REQUEST_TOO_LARGE),
        ):
            answer = await client.post("/", data=io.BytesIO(body))
            text = await answer.read()
            assert (answer.status, answer.content_type) == (status, CONTENT_TYPE)
            assert msgspec.json.decode(text)["code"] == code.number
            assert b"hush" not in text
            assert ("Retry-After" in answer.headers) == code.retry
