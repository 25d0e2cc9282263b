"""The audit policy that the clusters made here have in common. Data only."""

from __future__ import annotations

from typing import Any

# A test counts requests in the log: every one is there once, as soon as it was answered (a watch: when it has ended).
AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}
AUDIT_MEGABYTES = 4096  # never rotated within a test: a reader would lose its place
