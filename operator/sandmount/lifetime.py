"""When a Sandbox ends by itself: ``timeoutSeconds``, ``expiresAt`` and ``expiryPolicy``. Pure; knows no clock.

A deadline is never handed to the Pod as activeDeadlineSeconds: a Pod's can only be shortened, and moving a deadline is
how a Sandbox is renewed.
"""

from datetime import datetime

from sandmount import times
from sandmount.api import ExpiryPolicy, InvalidSpec, SandboxSpec
from sandmount.observe import Sandbox


def deadline(sandbox: Sandbox, started_at: datetime | None) -> datetime | None:
    """When the Sandbox ends: the earlier of ``expiresAt`` and ``startedAt + timeoutSeconds``; None when it never does.

    Of a spec that cannot be read, the one that was last told.
    """
    if isinstance(sandbox.spec, InvalidSpec):
        return sandbox.memory.expires_at
    spec = sandbox.spec
    ends = [spec.expires_at] if spec.expires_at else []
    if started_at and spec.timeout_seconds:
        ends.append(times.later(started_at, spec.timeout_seconds))
    return min(ends, default=None)


def is_deleted_at_its_end(sandbox: Sandbox) -> bool:
    """Whether the Sandbox goes when it expires.

    One that was created when its own ``expiresAt`` had passed is kept: whatever creates it (a GitOps tool that applies
    an old file) would at once do so again, and so on for ever.
    """
    if isinstance(sandbox.spec, InvalidSpec) or sandbox.spec.expiry_policy is not ExpiryPolicy.DELETE:
        return False
    return sandbox.memory.started_at is not None or not was_created_late(sandbox, sandbox.spec)


def was_created_late(sandbox: Sandbox, spec: SandboxSpec) -> bool:
    """Whether ``expiresAt`` had passed when the Sandbox was created."""
    return spec.expires_at is not None and sandbox.created is not None and spec.expires_at <= sandbox.created


def why_expired(sandbox: Sandbox, end: datetime) -> str:
    """Which deadline it was, for people."""
    spec = sandbox.spec
    if isinstance(spec, InvalidSpec):
        return f"its deadline, {times.stamp(end)}, has passed"
    if spec.expires_at == end:
        words = f"expiresAt, {times.stamp(end)}, has passed"
        if was_created_late(sandbox, spec):
            words += " before it was created; move expiresAt and create it again"
        return words
    return f"timeoutSeconds is {spec.timeout_seconds}, and ended at {times.stamp(end)}"
