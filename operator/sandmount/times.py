"""Times as the API server writes them (RFC 3339), and as datetimes. Pure."""

from datetime import UTC, datetime, timedelta


def parse(text: object) -> datetime | None:
    """The time in a text; None when it is none, or has no offset from UTC."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def stamp(time: datetime) -> str:
    """To the second, in UTC, as metav1.Time is written; a fraction is cut off."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)  # glibc's %Y does not fill up


def later(time: datetime, seconds: float) -> datetime:
    """So many seconds later; the end of all times where there is none."""
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
