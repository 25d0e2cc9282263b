"""review: what the admission webhook answers when somebody creates or changes a Sandbox. Pure.

It says early, in the operator's own words, what the operator would say anyway. Only a creation and volumes that changed
are judged: pausing, labels, finalizers and deletion always pass, whatever the allowlist says by now.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandmount.allowlist import Allowlist
from sandmount.judgement import Judgement, judge
from sandmount.settings import Admission, Settings

_MAX_MESSAGE = 4096
"""Characters of a refusal; as many as the message of a condition has."""
_MAX_WARNING, _MAX_WARNINGS = 1000, 3500
"""Characters of one warning and of all: above 4096 in all, whoever they are from, the API server cuts each to 256."""

NOT_LOADED = "the allowlist is not loaded yet, so this is not checked now; see the Sandbox's status"
UNCHECKED = "this could not be checked because of an error in the operator; see the Sandbox's status"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the request passes, why not, and what its user is warned of."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()


def review(
    operation: str,
    new: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    allowlist: Allowlist | None,
    settings: Settings,
) -> Answer:
    """The answer to CREATE of ``new``, or UPDATE of ``old`` to ``new``, both raw. Other operations pass.

    ``allowlist`` is None while none has been loaded.
    """
    if operation == "CREATE":
        changed = None
    elif operation == "UPDATE" and old is not None and not _is_deleted(new):
        changed = _changed_volumes(_volumes(old), _volumes(new))
        if not changed:
            return Answer(allowed=True)
    else:
        return Answer(allowed=True)
    if allowlist is None:
        return Answer(allowed=True, warnings=(NOT_LOADED,))
    judgement = judge(new, allowlist, settings)
    words = _objections(judgement) if changed is None else _denied(judgement, changed)
    if words and settings.admission is Admission.DENY:
        return Answer(allowed=False, message=_cut("; ".join(words), _MAX_MESSAGE), warnings=_fitted(judgement.warnings))
    return Answer(allowed=True, warnings=_fitted([*words, *judgement.warnings]))


def _objections(judgement: Judgement) -> Sequence[str]:
    """Why the operator would make no Pod: what its status says, in the same order of precedence."""
    if judgement.problems:
        return judgement.problems
    if judgement.refusal is not None:
        return [judgement.refusal.message]
    return [d.message for d in judgement.denials]


def _denied(judgement: Judgement, names: frozenset[str]) -> Sequence[str]:
    """Why these volumes may not be mounted."""
    return [d.message for d in judgement.denials if d.volume in names]


def _is_deleted(raw: Mapping[str, Any]) -> bool:
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and "deletionTimestamp" in metadata


def _volumes(raw: Mapping[str, Any]) -> dict[str, object]:
    """The items of ``spec.volumes`` by name; what is none is nobody's to judge here."""
    spec = raw.get("spec")
    items = spec.get("volumes") if isinstance(spec, Mapping) else None
    named = [v for v in items if isinstance(v, Mapping)] if isinstance(items, list) else []
    return {str(v.get("name")): v for v in named}


def _changed_volumes(old: Mapping[str, object], new: Mapping[str, object]) -> frozenset[str]:
    """Names of the volumes that are new or not what they were."""
    return frozenset(name for name, volume in new.items() if old.get(name) != volume)


def _fitted(warnings: Iterable[str]) -> tuple[str, ...]:
    """As many as fit, each cut, and a word about the rest."""
    return tuple(_fitting([_cut(w, _MAX_WARNING) for w in warnings]))


def _fitting(warnings: Sequence[str]) -> Iterator[str]:
    left = _MAX_WARNINGS
    for number, text in enumerate(warnings):
        left -= len(text)
        if left < 0:
            yield f"and {len(warnings) - number} more; see the Sandbox's status"
            return
        yield text


def _cut(text: str, limit: int) -> str:
    """At most so many characters, and none that an HTTP header cannot carry: that would drop the whole text."""
    shown = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return shown if len(text) <= limit else shown[: limit - 3] + "..."
