"""What each tool is to say of a Sandbox in each state. The recorded Sandboxes and the live ones are held against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """The verdicts on one state."""

    kstatus: str
    argocd: str
    flux: str
    decided_by: str | None = None
    """Type of the condition whose message Argo CD shows; None where no condition decides."""


def under_way(decided_by: str | None = "Reconciling") -> Row:
    """It may still succeed."""
    return Row("InProgress", "Progressing", "InProgress", decided_by)


def running(decided_by: str = "Ready") -> Row:
    """It is as the spec wants it, and has a Pod."""
    return Row("Current", "Healthy", "Current", decided_by)


STUCK = Row("Failed", "Degraded", "Failed", "Stalled")
FINISHED = Row("Current", "Healthy", "Current", "Finished")

TABLE: dict[str, Row] = {
    "new": under_way(None),
    "changed": under_way(None),
    "creating": under_way(),
    "ready": running(),
    "denied": STUCK,
    "invalid-spec": STUCK,
    "name-taken": STUCK,
    "pod-failed": STUCK,
    "restart-limit": STUCK,
    "failed-mount": under_way(),
    "image-pull": under_way(),
    "config-error": under_way(),
    "refused-by-quota": under_way(),
    "unschedulable": under_way(),
    "crash-looping": under_way(),
    "replaced": under_way(),
    "node-lost": under_way(),
    "pausing": under_way(),
    "paused": Row("Current", "Suspended", "Current", "Paused"),
    "resuming": under_way(),
    "expiring": under_way(),
    "expired": FINISHED,
    "completed": FINISHED,
    "revoked-warn": running("VolumesAllowed"),
    # The API server counts a deletion as a new generation. That is all Flux sees of it: its expressions are not asked.
    "deleting": Row("Terminating", "Progressing", "InProgress"),
}
