"""What processes say of themselves when each is asked: while Redis, in which they say it, is away.

A worker's overview page has the worker's own report, and the last that it has heard of others. A
gateway's health page says what is wrong with it.
"""

import http.client
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import msgspec

from ops.worker_pages import ask
from schemas.codec import UNDECODABLE
from schemas.fleet import Overview, Report, Seen

_SECONDS = 3.0
_AT_ONCE = 16


class _Health(msgspec.Struct):
    """As gateway/edge/http_types.py has it."""

    problems: list[str]


def asked_parts(urls: Iterable[str]) -> list[Seen]:
    """What the workers and gateways at these URLs say; of each process the newest that anybody
    has. Who does not answer is left out. A gateway's report has no figures."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = chain.from_iterable(threads.map(_ask, urls))
        known: dict[tuple[str, str], Seen] = {}
        for seen in sorted(found, key=lambda seen: -seen.age):
            known[seen.report.kind, seen.report.address] = seen
    return list(known.values())


def _ask(url: str) -> list[Seen]:
    for path, read in (("/overview/", _overview), ("/health", _health)):
        try:
            body = _page(f"{url.rstrip('/')}{path}")
        except (OSError, http.client.HTTPException):
            return []
        try:
            return read(url.rstrip("/"), body)
        except UNDECODABLE:
            continue  # it is the other kind, or refuses
    return []


def _page(url: str) -> bytes:
    """Raises OSError, HTTPException."""
    try:
        with ask(url, _SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()  # it answers so if it is unwell, too


def _overview(_: str, body: bytes) -> list[Seen]:
    return msgspec.json.decode(body, type=Overview).parts


def _health(url: str, body: bytes) -> list[Seen]:
    problems = msgspec.json.decode(body, type=_Health).problems
    return [Seen(0.0, Report("gateway", url, 0, 0, problems, {}, {}))]
