"""How times, and text that others wrote, are shown on a terminal. Pure."""

from datetime import datetime, timedelta

MINUTE, HOUR, DAY = 60, 3600, 86400

LONGEST = 2000
"""Characters of one line. A spec's command can have 131072."""


def shown(text: object) -> str:
    """One line that can be printed: whoever writes a message or an Event does not write to the terminal, or fill it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def duration(time: timedelta) -> str:
    """In its two largest units, as kubectl prints ages: ``45s``, ``5m10s``, ``3h``, ``2d4h``."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 2 * MINUTE:
        return f"{seconds}s"
    for size, name, part_size, part_name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "m"), (MINUTE, "m", 1, "s")):
        if seconds >= size:
            part = seconds % size // part_size
            return f"{seconds // size}{name}" + (f"{part}{part_name}" if part and seconds < 10 * size else "")
    return f"{seconds}s"


def since(then: datetime | None, now: datetime) -> str:
    """How long ago; ``?`` when that is not known."""
    return "?" if then is None else duration(now - then)


def until(then: datetime, now: datetime) -> str:
    """How long it is until then, or has been since."""
    return f"in {duration(then - now)}" if then > now else f"{duration(now - then)} ago"
