"""Which months retention keeps. Pure."""

import datetime


def first_kept(today: datetime.date, months: int) -> str:
    """The oldest month to keep, as YYYYMM: the running month and `months` before it stay."""
    count = today.year * 12 + today.month - 1 - months
    return f"{count // 12:04d}{count % 12 + 1:02d}"
