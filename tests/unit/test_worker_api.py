"""A worker's endpoints without a web server, and rates that nobody's look disturbs."""

import logging
from collections import Counter

import msgspec
import pytest

from schemas.worker_api import MarksQuestion
from streams.rates import Rates
from streams.worker_api import Request, Response, WorkerApi, answering, each, json_response


async def marks(question: MarksQuestion) -> dict[int, list[str]]:
    return question.conversations


async def partition(request: Request) -> Response:
    return json_response(dict(request.values) | dict(request.query))


async def fails(request: Request) -> Response:
    raise ZeroDivisionError


@pytest.fixture
def api() -> WorkerApi:
    api = WorkerApi()
    api.add({"/marks/": answering(MarksQuestion, each(marks)), "/fails/": fails})
    api.add({"/page/{partition}/": partition})
    return api


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (Request("/marks/", {}, b'[{"conversations":{"3":["a:b"]}}]'), 200, [{"3": ["a:b"]}]),
        (Request("/page/3/", {"after": "5"}), 200, {"partition": "3", "after": "5"}),
        (Request("/page/3/4/"), 404, None),
        (Request("/other/"), 404, None),
        (Request("/marks/", {}, b"nonsense"), 400, None),
        (Request("/fails/"), 500, None),
    ],
)
async def test_requests_are_answered(
    api: WorkerApi,
    request_: Request,
    status: int,
    body: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.CRITICAL + 1):
        response = await api.handle(request_)
    assert response.status == status
    assert body is None or msgspec.json.decode(response.body) == body


def test_a_rate_is_the_same_for_everybody_who_looks() -> None:
    figures = Counter[str]()
    rates = Rates(figures)
    for second in range(30):
        rates.sample(float(second))
        figures["facts"] += 5
        for _ in range(3):
            assert rates.per_second("facts", second + 0.5) == pytest.approx(5.0, rel=1.0)
    assert rates.per_second("facts", 30.0) == pytest.approx(5.0, rel=0.1)
