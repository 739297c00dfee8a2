"""Up to where a device has shown each conversation."""


class Cursors:
    """Per conversation the last number shown; the first message seen sets the floor."""

    def __init__(self) -> None:
        self._cursors: dict[str, int] = {}

    def __getitem__(self, conversation: str) -> int:
        """The cursor, 0 if nothing was shown."""
        return self._cursors.get(conversation, 0)

    def take(self, conversation: str, seq: int) -> int | None:
        """A number has come: None if it was shown before, else how many before it are missing (0: it continues)."""
        cursor = self._cursors.get(conversation)
        if cursor is not None and seq <= cursor:
            return None
        self._cursors[conversation] = seq
        return 0 if cursor is None else seq - cursor - 1
