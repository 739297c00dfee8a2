"""XMPP over TCP, as the pairs of the benchmark speak it with ejabberd: strings go out, and a
splitter finds the elements that come in.

TCP is XMPP's first transport. Over WebSockets ejabberd has another process a connection and a frame
around each stanza, so TCP is cheaper for both sides. Who sends asks for an acknowledgement with
each write (XEP-0198), which stands for our `sent`; ejabberd has then archived the message for the
sender. Who receives says so with a chat marker (XEP-0333), once for all of a read, as our devices
do.
"""

import re
import socket
from base64 import b64encode
from collections import deque

from bench.ejabberd import DOMAIN, Ejabberd
from bench.talk import BODY, Talk, Talker, pair_names

_TAG = re.compile(rb"<(/?)[^>]*>")
_ID = re.compile(rb"\bid='([^']*)'")
_HANDLED = re.compile(rb"\bh='(\d+)'")
_STREAM = (
    f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)
_REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
_ENABLED = b"<enabled "
_MARKERS = "urn:xmpp:chat-markers:0"
_SYNC = (
    "<iq type='set' id='sync'><query xmlns='urn:xmpp:mam:2'>"
    "<set xmlns='http://jabber.org/protocol/rsm'><max>50</max><before/></set></query></iq>"
)
_SLASH = ord("/")


def stanzas(received: bytes) -> tuple[list[bytes], bytes]:
    """([each whole element], the rest). Between tags and in attributes, servers escape `<` and
    `>`."""
    found, depth, start, end = [], 0, 0, 0
    for tag in _TAG.finditer(received):
        if not depth:
            start = tag.start()
        if tag[1]:
            depth -= 1
        elif received[tag.end() - 2] != _SLASH:
            depth += 1
        if not depth:
            end = tag.end()
            found.append(received[start:end])
    return found, received[end:]


def login_steps(user: str, token: str, device: str, sync: bool) -> list[tuple[bytes, bytes]]:
    """What a client sends, and what it then waits for. After the last step it is online; with
    `sync` it also has the newest messages of the archive, 50 at most."""
    proof = b64encode(f"\0{user}\0{token}".encode()).decode()
    bind = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{device}</resource></bind>"
    auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>"
    online = "<enable xmlns='urn:xmpp:sm:3'/><presence/>"
    last = (online + _SYNC, b"<fin ") if sync else (online + _REQUEST.decode(), b"<a ")
    steps = [
        (_STREAM, b"</stream:features>"),
        (auth, b"<success "),
        (_STREAM, b"</stream:features>"),
        (f"<iq type='set' id='bind'>{bind}</iq>", b"</iq>"),
        last,
    ]
    return [(text.encode(), awaited) for text, awaited in steps]


def acknowledgement(handled: int) -> bytes:
    """That a client has handled so many stanzas (XEP-0198)."""
    return b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % handled


class Client(Talker):
    """A user who is online. Raises ConnectionError if the server closes the stream."""

    def __init__(self, server: Ejabberd, name: str, peer: str) -> None:
        super().__init__(name, peer)
        self.heard = 0
        """Stanzas received since stream management is on, which the server wants to hear of."""
        self.said = 1
        """Stanzas sent since; the first is the presence."""
        self.unacknowledged: deque[tuple[int, str]] = deque()
        """(said, key) of messages that the server has not acknowledged."""
        self.shown = ""
        """The key of the newest message."""
        self.asks = False
        """Whether the next packet asks for an acknowledgement."""
        self.sock = socket.create_connection(server.address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        for text, awaited in login_steps(name, server.token(name), "bench", sync=False):
            self.sock.sendall(text)
            answer = b""
            while awaited not in answer:
                received = self.sock.recv(1 << 16)
                if not received:
                    raise ConnectionError(f"ejabberd closed the stream of {name}: {answer!r}")
                answer += received
        self.buffer = answer[answer.index(_ENABLED) :]
        self.sock.setblocking(False)


class XmppTalk(Talk[Client]):
    """`pairs` of users with one device each. A message is done when ejabberd has acknowledged it
    and its recipient has it."""

    def __init__(self, server: Ejabberd, pairs: int, seed: int) -> None:
        run, names = pair_names(pairs)
        clients = [Client(server, name, peer) for name, peer in names]
        super().__init__(clients, len(clients), 2, run, seed)

    def _message(self, user: Client, key: str) -> bytes:
        user.said += 1
        user.unacknowledged.append((user.said, key))
        user.asks = True
        return (
            f"<message to='{user.peer}@{DOMAIN}' type='chat' id='{key}'>"
            f"<body>{BODY}{user.ordinal}</body><markable xmlns='{_MARKERS}'/></message>"
        ).encode()

    def _packet(self, device: Client) -> bytes:
        asks, device.asks = device.asks, False
        return b"".join([*device.out, _REQUEST] if asks else device.out)

    def _take(self, device: Client, received: bytes, now: float) -> None:
        found, device.buffer = stanzas(device.buffer + received)
        shown, asked = device.shown, False
        for stanza in found:
            if stanza.startswith(b"<message "):
                device.heard += 1
                self._read(device, stanza, now)
            elif stanza.startswith(b"<a "):
                handled = int(_first(_HANDLED, stanza))
                while device.unacknowledged and device.unacknowledged[0][0] <= handled:
                    key = device.unacknowledged.popleft()[1]
                    self._answered(key, device.name, now, shown=False)
            elif stanza.startswith(b"<r "):
                asked = True
            elif stanza.startswith(b"<presence "):
                device.heard += 1
            elif not stanza.startswith(_ENABLED):
                raise AssertionError(f"unexpected {stanza!r}")
        if device.shown > shown:
            device.said += 1
            mark = (
                f"<message to='{device.peer}@{DOMAIN}' type='chat'>"
                f"<received xmlns='{_MARKERS}' id='{device.shown}'/></message>"
            )
            self._say(device, mark.encode())
        if asked:
            self._say(device, acknowledgement(device.heard))

    def _read(self, device: Client, stanza: bytes, now: float) -> None:
        if b" type='error'" in stanza:
            raise AssertionError(f"unexpected {stanza!r}")
        if b"<received " in stanza:
            self.marks += 1
            return
        key = _first(_ID, stanza).decode()  # of one sender, and as long as the one before it
        if key <= device.shown:
            self.out_of_order += 1
        device.shown = key
        self._answered(key, device.peer, now, shown=True)


def _first(pattern: re.Pattern[bytes], stanza: bytes) -> bytes:
    found = pattern.search(stanza)
    assert found is not None, stanza
    return found[1]
