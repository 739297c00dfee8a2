"""What other stores say of messages, held against the messages of the input."""

from collections.abc import Callable
from typing import NamedTuple

from ops.audit.recent import Content, RecentMessages
from ops.audit.verdict import Place, Verdict

_MAX_WAITING = 100_000


class Claim(NamedTuple):
    """`how` the message of `place` stands there, such as "delivered". Without `has_body` the body
    is not compared."""

    place: Place
    how: str
    content: Content
    has_body: bool = True


class Claims:
    """Judges claims against `recent`. `last(conversation)` is the last number by the input, as far
    as the log goes. The sequencer delivers before it appends, so what is beyond that waits."""

    def __init__(
        self, verdict: Verdict, recent: RecentMessages, last: Callable[[str], int]
    ) -> None:
        self._verdict = verdict
        self._recent = recent
        self._last = last
        self._waiting: list[Claim] = []

    @property
    def waiting(self) -> list[str]:
        """The conversations of the claims that wait."""
        return [claim.place.conversation for claim in self._waiting]

    def add(self, claim: Claim) -> None:
        """Judge a claim now, or when the log has come to it."""
        place = claim.place
        true = self._recent.find(place.conversation, place.seq)
        if true is not None:
            self._check_content(claim, true)
        elif place.seq <= self._last(place.conversation):
            self._verdict.figures["too old to compare"] += 1
        elif len(self._waiting) < _MAX_WAITING:
            self._waiting.append(claim)
        else:
            self._verdict.figures["too many to wait for"] += 1

    def look_again(self) -> None:
        """Judge what waited, as far as the log has come meanwhile."""
        waited, self._waiting = self._waiting, []
        for claim in waited:
            self.add(claim)

    def ends(self, all_folded: Callable[[str], bool]) -> None:
        """Call this when the log has had time to come to all that was claimed. `all_folded` says of
        a conversation whether the log has come to the end of its partition's input."""
        waited, self._waiting = self._waiting, []
        for claim in waited:
            if all_folded(claim.place.conversation):
                self._check_never(claim)
            else:
                self._check_unlogged(claim)

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_content(self, claim: Claim, true: Content) -> None:
        if claim.content.head != true.head or (claim.has_body and claim.content.body != true.body):
            self._verdict.add(
                "inconsistent-offsets", f"it is {claim.how} with other content", claim.place
            )

    def _check_never(self, claim: Claim) -> None:
        self._verdict.add(
            "phantom", f"it is {claim.how}; the input does not come to it", claim.place
        )

    def _check_unlogged(self, claim: Claim) -> None:
        self._verdict.add(
            "lost-write", f"it is {claim.how}; the log does not come to it", claim.place
        )
