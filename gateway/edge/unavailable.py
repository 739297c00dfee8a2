"""The answer to a connection for which there is no room now."""

from gateway.edge.problems import CONTENT_TYPE, problem_body
from schemas.codes import Code


def come_again(why: str) -> bytes:
    """A whole HTTP response of status 503."""
    body = problem_body(503, Code.TRY_LATER, why)
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: %b\r\n"
        b"Retry-After: 1\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (CONTENT_TYPE.encode(), len(body), body)
    )
