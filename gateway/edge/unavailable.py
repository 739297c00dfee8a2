"""The answer to a connection for which there is no room now."""

import msgspec

from schemas.codes import Code


def come_again(why: str) -> bytes:
    """A whole HTTP response of status 503."""
    body = msgspec.json.encode(
        {"code": Code.TRY_LATER.number, "retry": Code.TRY_LATER.retry, "text": why}
    )
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Retry-After: 1\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
