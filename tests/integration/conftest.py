"""Three stacks that several files use, one after the other. Each test leaves the stack healthy, and
has users of its own. After a failure the next test gets a fresh one. Files with a stack of their
own come first, so that few run at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.shared import Parts, Shared
from tests.harness.stack import Stack

_ORDER = ("stack", "spare", "plain")
_PARTS: dict[str, Parts] = {
    "stack": {"gateways": 2, "cursors": None, "presence": None},
    "spare": {"archivers": 1, "cursors": None, "traces_share": 1e-9},
    "plain": {},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share a stack come one after the other, and have its name as a mark."""
    places = [
        place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent
    ]
    ours = sorted((items[place] for place in places), key=_stack_of)
    for place, item in zip(places, ours, strict=True):
        items[place] = item
        if number := _stack_of(item):
            item.add_marker(_ORDER[number - 1])


def _stack_of(item: pytest.Item) -> int:
    """0: one of its own, or none; then by `_ORDER`."""
    names = item.fixturenames if isinstance(item, pytest.Function) else []
    return next((number for number, name in enumerate(_ORDER, 1) if name in names), 0)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    stacks = Shared(lambda parts: Stack(tmp_path_factory.mktemp("lab") / "stack", **parts))
    yield stacks
    stacks.end()


def _taken(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Stack]:
    failures = request.session.testsfailed
    stack = shared.take(_PARTS[str(request.fixturename)], failures)
    yield stack
    if request.session.testsfailed == failures:
        stack.wait_healthy()


@pytest.fixture
def stack(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Kafka, Redis, a worker of all stages and two gateways."""
    yield from _taken(shared, request)


@pytest.fixture
def spare(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Kafka, Redis, a worker, one gateway and an archive. Tests pause its parts, kill them, wipe
    what the archive holds, and let the log expire. Only messages with keys that a test has made up
    are traced."""
    yield from _taken(shared, request)


@pytest.fixture
def plain(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Kafka, Redis, a worker and one gateway, which count what few devices do: nobody probes, and
    there is no archive. Tests pause its parts; the last of them lets the log expire."""
    yield from _taken(shared, request)
