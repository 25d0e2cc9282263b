"""What the API server's answers mean to a caller. Pure.

What a caller must deal with (taken, refused, gone, outdated) is a value. What may succeed later (a server that is busy,
starting or away) is a Transient, the one exception that callers retry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

LONGEST_WISH = 60.0
"""Seconds that a server can make us wait; then it is asked again whether it still wants that."""


class Transient(Exception):  # noqa: N818 - it names a condition, not a mistake
    """The API server could not serve a request now; the same request may succeed later."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asked to wait; 0 when it did not say."""


class Outdated(Exception):  # noqa: N818 - it names a condition, not a mistake
    """A watch cannot begin where it was to, because that is too long ago: all have to be listed again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server said no. ``final`` when the same request can never succeed."""

    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The object is not the one or the version that was meant."""


@dataclass(frozen=True, slots=True)
class Exists:
    """There is another object of that name already."""


Unanswered = Missing | Exists | Conflict | Refused


def unanswered(asked: str, status: int, answer: Mapping[str, Any], reason: str, retry_after: str | None) -> Unanswered:
    """What an error means for the caller; raises Transient for what may pass.

    ``asked`` is the request for people, ``answer`` a metav1.Status, ``reason`` HTTP's own, and ``retry_after`` the
    header of that name: seconds, as the API server's priority and fairness sends it with 429.
    """
    message = str(answer.get("message") or reason)
    match status:
        case 404:
            return Missing()
        case 409:
            return Exists() if answer.get("reason") == "AlreadyExists" else Conflict()
        case 400 | 405 | 413 | 415 | 422:
            return Refused(message, final=not _by_admission(message))
        case 403 if _namespace_is_going(answer):
            return Missing()
        case 403:
            return Refused(message, final=False)
        case 500 if "request is too large" in message or "larger than max" in message:
            return Refused(message, final=True)  # etcd's limit, which the API server reports as an internal error
    raise Transient(f"{asked}: {status} {message}", seconds_in(retry_after))


def words(answer: Unanswered) -> str:
    """What an answer means, for people."""
    return answer.message if isinstance(answer, Refused) else type(answer).__name__.lower()


def seconds_in(retry_after: str | None) -> float:
    """What a Retry-After asks for, within reason; a date, as a proxy may send it, is not worth the trouble."""
    try:
        return min(max(0.0, float(retry_after or 0)), LONGEST_WISH)
    except ValueError:
        return 0.0


def _namespace_is_going(answer: Mapping[str, Any]) -> bool:
    """Whether something could not be created because its namespace is being deleted."""
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(c.get("reason") == "NamespaceTerminating" for c in causes)


def _by_admission(message: str) -> bool:
    """Whether a policy or a webhook said no, which may think otherwise tomorrow; both choose their own status codes."""
    return "admission webhook" in message or "ValidatingAdmissionPolicy" in message
