"""What can go wrong, and what to do."""

from schemas.codes import Close, Code


class MessengerError(Exception):
    """Base of the client's errors."""


class ClientClosed(MessengerError):
    """The client was closed: messages without an answer may or may not have been taken."""


class OutboxFull(MessengerError):
    """Too many messages wait to be sent: await earlier sends, or wait for the connection."""


class FolderInUse(MessengerError):
    """Another process has the folder open: one client a folder."""


class FolderUnreadable(MessengerError):
    """A file of the folder cannot be read or written; the text says why. Move it away to go on
    without what is in it."""


class FolderOfAnother(MessengerError):
    """The folder is another user's: give each user (and device) a folder."""


class SendRefused(MessengerError):
    """The server refuses the message for good (`code`): do not send it again as it is."""

    def __init__(self, code: int) -> None:
        known = Code.of(code)
        super().__init__(
            f"refused with code {code}: {known.text if known else 'unknown to this client'}"
        )
        self.code = code


class SendUnknown(MessengerError):
    """The server no longer knows this send (`reason`), nor does the history show it: send it again
    if it is still due."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the server no longer knows this send ({reason}), and the history does not show it"
        )
        self.reason = reason


class HistoryRefused(MessengerError):
    """The server refuses the question (`code`): 113 is not a conversation of this user, 122 is no
    longer kept."""

    def __init__(self, code: int) -> None:
        known = Code.of(code)
        super().__init__(
            f"refused with code {code}: {known.text if known else 'unknown to this client'}"
        )
        self.code = code


class DecisionRefused(MessengerError):
    """The server refuses a decision about somebody (`code`): 103 is no other user, of 135 there are
    too many."""

    def __init__(self, code: int) -> None:
        known = Code.of(code)
        super().__init__(
            f"refused with code {code}: {known.text if known else 'unknown to this client'}"
        )
        self.code = code


class ConnectionRefused(MessengerError):
    """The server says not to come back like this (`code`): a new token, a newer client, or another
    device id is needed."""

    def __init__(self, code: int) -> None:
        known = Close.of(code)
        super().__init__(
            f"closed with code {code}: {known.text if known else 'unknown to this client'}"
        )
        self.code = code
