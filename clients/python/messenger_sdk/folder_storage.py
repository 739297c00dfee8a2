"""A device in a folder: `outbox.sqlite` holds its sends, `shown.sqlite` what it has shown."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from messenger_sdk.outbox_file import OutboxFile
from messenger_sdk.shown_file import ShownFile
from messenger_sdk.storage import Change, Note, Stored


class FolderStorage:
    """Storage on disk. The folder is made if it does not exist, and one process has it at a time:
    raises FolderInUse, FolderUnreadable."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._outbox = OutboxFile(folder / "outbox.sqlite")
        try:
            self._shown = ShownFile(folder / "shown.sqlite")
        except BaseException:
            self._outbox.close()
            raise

    def load(self) -> Stored:
        return self._shown.load(self._outbox.load())

    async def save(self, changes: Sequence[Change]) -> None:
        """A commit takes milliseconds (fsync), so it is done in a thread."""
        if changes:
            await asyncio.to_thread(self._outbox.save, changes)

    def note(self, notes: Sequence[Note]) -> None:
        if notes:
            self._shown.note(notes)

    def close(self) -> None:
        self._outbox.close()
        self._shown.close()
