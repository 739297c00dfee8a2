"""A conversation in the list, and above its messages. Pure; widths are cells."""

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from ops.chat.state import Conversation
from ops.chat.words import TICKS, fate, line, presence, short_time


def entry(conversation: Conversation, width: int, now: int, current: bool) -> Content:
    """Two lines: who, and when it was last written in; the last line, and how much is unread."""
    last = conversation.last
    when = short_time(last.time, now) if last else ""
    badge = f" {conversation.unread} " if conversation.unread else ""
    name = (
        ("● " if conversation.here else "  ", "$text-success"),
        (
            _fit(conversation.peer, width - 3 - cell_len(when)),
            "bold",
        ),
    )
    said, style = _said(conversation, now, current)
    return Content.assemble(
        *name,
        (f" {when}\n", "$foreground 70%"),
        (f"  {_fit(said, width - 3 - cell_len(badge))} ", style),
        (badge, "bold $background on $success" if badge else ""),
    )


def heading(conversation: Conversation, now: int) -> Content:
    """Whose conversation it is, and what they do."""
    return Content.assemble(
        (f" {conversation.peer}  ", "bold"), (presence(conversation, now), "$foreground 70%")
    )


def _said(conversation: Conversation, now: int, current: bool) -> tuple[str, str]:
    """The last line of a conversation, and its style."""
    last = conversation.last
    if conversation.typing_until > now and not conversation.blocked:
        return "typing…", "italic $text-success"
    if conversation.draft and not current:
        return f"Draft: {line(conversation.draft)}", "italic $text-warning"
    if last is None:
        return "", ""
    said = "deleted" if last.erased else line(last.body)
    if last.sender == conversation.me:
        said = f"{TICKS[fate(last, conversation)]} {said}"
    return said, "$foreground 80%"


def _fit(text: str, width: int) -> str:
    """Exactly so wide."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return set_cell_size(text, max(0, width))
