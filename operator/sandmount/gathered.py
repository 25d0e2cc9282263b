"""What a plan is made of: all that was found out about one Sandbox before anything is decided. Pure."""

from dataclasses import dataclass
from datetime import datetime

from sandmount.allowlist import Allowlist
from sandmount.api import SandboxSpec
from sandmount.lifetime import deadline
from sandmount.observe import Node, Pod, Sandbox
from sandmount.podstate import is_overdue
from sandmount.settings import Settings
from sandmount.status import first_ready


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that a plan is made of. ``pod`` is the Pod of the Sandbox's name, whoever made it, or None."""

    sandbox: Sandbox
    allowlist: Allowlist
    pod: Pod | None
    settings: Settings
    now: datetime
    node: Node | None = None
    """The node that ``node_wanted`` names."""
    ended: bool = False
    """Whether we have asked the last Pod to end, so that it was not lost."""
    deletable: bool = True
    """Whether the Sandbox itself may be deleted; not when the API server has just refused to."""

    @property
    def own(self) -> Pod | None:
        """The Sandbox's own Pod."""
        return self.pod if self.pod is not None and self.pod.owner_uid == self.sandbox.uid else None

    @property
    def is_orphaned(self) -> bool:
        """Whether the Pod of that name was made for this Sandbox, or an earlier one, that no longer is its owner."""
        return self.pod is not None and self.own is None and self.pod.is_left_over

    @property
    def deadline(self) -> datetime | None:
        """When the Sandbox ends; also by a Pod that has just become Ready."""
        return deadline(self.sandbox, first_ready(self.sandbox, self.own))


def node_wanted(sandbox: Sandbox, pod: Pod | None, now: datetime) -> str | None:
    """The node that a plan cannot be made without, by its name: one read, and only where something depends on it."""
    if pod is None:
        spec = sandbox.spec
        starts = isinstance(spec, SandboxSpec) and not spec.paused and any(v.host for v in spec.volumes)
        ran = sandbox.memory.started_at is not None  # what never ran has left nothing there
        return sandbox.memory.node_name or None if starts and ran and not sandbox.memory.finished else None
    if pod.owner_uid != sandbox.uid:
        return None
    if is_overdue(pod, now) or (pod.cut_off and not pod.deleting):
        return pod.node_name or None
    return pod.kept_to or None if not pod.node_name else None
