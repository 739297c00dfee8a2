"""What a connection has of its node."""

from typing import NamedTuple

from gateway.change_gate import ChangeGate
from gateway.edge.expiries import Expiries
from gateway.edge.flood_gate import FloodGate
from gateway.edge.logins import Logins
from gateway.greeter import Greets
from gateway.people.send_gate import SendGate
from gateway.presence.typing import TypingRelay
from gateway.queries.answers import QuestionAnswerer
from gateway.quotas import Quotas
from gateway.receipt_gate import ReceiptGate
from gateway.turn_writer import TurnWriter


class NodeServices(NamedTuple):
    """What all connections of a node share."""

    writer: TurnWriter
    greeter: Greets
    sends: SendGate
    receipts: ReceiptGate
    changes: ChangeGate
    typing: TypingRelay
    questions: QuestionAnswerer
    logins: Logins
    expiries: Expiries
    quotas: Quotas
    flood_gate: FloodGate
