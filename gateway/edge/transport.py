"""What a connection writes to: a WebSocket, or what stands for one."""

from collections.abc import Sequence
from typing import Protocol

from schemas.codes import Close


class Transport(Protocol):
    """The way to the device. Once it is closed, all methods do nothing."""

    def write(self, frames: Sequence[bytes]) -> None:
        """Write 1..n frames, as one WebSocket message."""

    def close(self, code: Close, reason: str) -> None:
        """Send the close code and its reason. The connection ends when the device has answered, or
        soon without its answer; then the code that reads calls `Connection.ended`."""

    def abort(self) -> None:
        """End the connection now."""

    def unsent(self) -> int:
        """Bytes that were written and have not left."""

    def pause(self) -> None:
        """Bring the connection no further message."""

    def resume(self) -> None:
        """Bring it the next one, in a later turn of the loop."""
