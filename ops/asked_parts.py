"""What processes say of themselves when each is asked: while Redis, in which they say it, is away.

A worker's overview page has the worker's own report, and the last that it has heard of others. A
gateway's health page says what is wrong with it.
"""

import http.client
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import msgspec

from ops.worker_pages import ask
from schemas.codec import UNDECODABLE
from schemas.fleet import Overview, Report, Seen

_SECONDS = 3.0
_AT_ONCE = 16


class _Health(msgspec.Struct):
    """As gateway/edge/http_types.py has it."""

    problems: list[str]


class Asked(NamedTuple):
    """What the processes say, and a line for each that says nothing of use."""

    parts: list[Seen]
    silent: list[str]


def asked_parts(urls: Iterable[str]) -> Asked:
    """What the workers and gateways at these URLs say; of each process the newest that any of them
    has. A gateway's report has no figures."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = list(threads.map(_ask, urls))
    found = chain.from_iterable(answer for answer in answers if not isinstance(answer, str))
    known: dict[tuple[str, str], Seen] = {}
    for seen in sorted(found, key=lambda seen: -seen.age):
        known[seen.report.kind, seen.report.address] = seen
    return Asked(list(known.values()), [answer for answer in answers if isinstance(answer, str)])


def _ask(url: str) -> list[Seen] | str:
    why = "it is neither a worker nor a gateway"
    for path, read in (("/overview/", _overview), ("/health", _health)):
        try:
            status, body = _page(f"{url}{path}")
        except (OSError, http.client.HTTPException) as error:
            return f"{url} does not answer: {error or type(error).__name__}"
        try:
            return read(url, body)
        except UNDECODABLE:  # it is the other kind, or refuses
            if status == http.client.UNAUTHORIZED:
                why = "it needs another token: set MESSENGER_STATUS_TOKEN to that of its settings"
    return f"{url} does not say how it is: {why}"


def _page(url: str) -> tuple[int, bytes]:
    """Raises OSError, HTTPException."""
    try:
        with ask(url, _SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()  # it answers so if it is unwell, too


def _overview(_: str, body: bytes) -> list[Seen]:
    return msgspec.json.decode(body, type=Overview).parts


def _health(url: str, body: bytes) -> list[Seen]:
    problems = msgspec.json.decode(body, type=_Health).problems
    return [Seen(0.0, Report("gateway", url, 0, 0, problems, {}, {}))]
