"""Which months retention drops: pure."""

import datetime


def first_kept(today: datetime.date, months: int) -> str:
    """The oldest month (YYYYMM) kept when the running one and `months` whole ones before it
    stay."""
    count = today.year * 12 + today.month - 1 - months
    return f"{count // 12:04d}{count % 12 + 1:02d}"
