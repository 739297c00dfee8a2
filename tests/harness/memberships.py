"""What stands in `memberships`, held against the conversations there are."""

from collections.abc import Iterable
from contextlib import closing

from connectors.kafka.reader import Reader
from schemas.codec import decode_membership
from schemas.events import Membership
from schemas.ids import members_of_valid, partition_of
from schemas.topics import MEMBERSHIPS

PARTITIONS = 4


def check_memberships(kafka: str, conversations: Iterable[str]) -> None:
    """Both users of each conversation are said. Blocks."""
    said = set()
    with closing(Reader(kafka)) as reader:
        for number in range(PARTITIONS):
            for record in reader.read(MEMBERSHIPS, number, *reader.watermarks(MEMBERSHIPS, number)):
                fact = decode_membership(record.value).fact
                if isinstance(fact, Membership):
                    said.add((fact.user, fact.partition))
    for conversation in conversations:
        for user in members_of_valid(conversation):
            assert (user, partition_of(conversation, PARTITIONS)) in said, (user, conversation)
