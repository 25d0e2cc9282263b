"""``kubectl sandbox ls`` and ``paths``: rows of tables. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sandmount import times
from sandmount.allowlist import Allowlist
from sandmount.memory import by_type
from sandmount.paths import is_within
from sandmount.people.words import shown, since, until

DEPENDS = "The allowlist is []: every path may be mounted, or none where the operator runs with --empty-allowlist=deny"

Rows = Sequence[Sequence[str]]
"""The first has the names of the columns."""


def sandboxes(items: Iterable[Mapping[str, Any]], now: datetime, *, everywhere: bool) -> Rows:
    """A row for each Sandbox, by namespace and name."""
    ordered = sorted(items, key=lambda s: (s["metadata"]["namespace"], s["metadata"]["name"]))
    head = ["NAME", "PHASE", "REASON", "NODE", "UNTIL", "AGE", "RESTARTS"]
    rows = [head, *(_row(sandbox, now) for sandbox in ordered)]
    if not everywhere:
        return rows
    return [["NAMESPACE", *head], *([s["metadata"]["namespace"], *r] for s, r in zip(ordered, rows[1:], strict=True))]


def _row(sandbox: Mapping[str, Any], now: datetime) -> list[str]:
    metadata, status = sandbox["metadata"], sandbox.get("status") or {}
    ends = times.parse(status.get("expiresAt"))
    return [
        metadata["name"],
        shown(status.get("phase") or "-"),
        reason(status),
        shown(status.get("nodeName") or "-"),
        "-" if ends is None else until(ends, now),
        since(times.parse(metadata.get("creationTimestamp")), now),
        str(status.get("restarts") or 0),
    ]


def reason(status: Mapping[str, Any]) -> str:
    """Of what matters most: that it has ended, that it rests, or whether it is ready."""
    conditions = by_type(status)
    found = next((conditions[kind] for kind in ("Finished", "Paused", "Ready") if kind in conditions), None)
    return shown(found["reason"]) if found else "-"


def paths(allowlist: Allowlist, namespace: str) -> Rows | str:
    """A row for each root that Sandboxes of the namespace may mount; or in words that there is none, or every one."""
    if allowlist.unusable is not None:
        return f"No host path may be mounted: {allowlist.unusable[1]}"
    if allowlist.allows_all:
        return "Every host path may be mounted: the allowlist is []"
    rows = list(_roots(allowlist, namespace))
    if not rows:
        return f'No host path may be mounted in namespace "{namespace}"'
    return [["AT OR BELOW", "ACCESS", "ON NODES WITH"], *rows]


def exceptions(allowlist: Allowlist, namespace: str) -> Iterator[str]:
    """What of those roots may not be mounted after all, and how many items of the list have a mistake in them."""
    roots = {e.root for e in allowlist.entries if e.serves(namespace)}
    closed = {e.root for e in allowlist.entries} - roots | {b.path for b in allowlist.bad_items if b.path}
    for path in sorted(closed):
        if any(is_within(path, root) for root in roots):
            yield f"Not at or below {shown(path)}"
    if allowlist.bad_items:
        yield f"{len(allowlist.bad_items)} items of the allowlist have a mistake in them and grant nothing"


def _roots(allowlist: Allowlist, namespace: str) -> Iterator[list[str]]:
    for entry in sorted(allowlist.entries, key=lambda e: e.root):
        if entry.serves(namespace):
            nodes = ", ".join(f"{key}={value}" for key, value in entry.nodes)
            yield [shown(entry.root), "read-only" if entry.read_only else "read and write", nodes or "any label"]
