"""Who got what: each grant and each denial as one line of JSON, for an auditor. Pure.

A grant is recorded when the Pod that mounts it was created, a denial when it came into the status; neither is recorded
again while nothing changes.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sandmount import paths
from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import InvalidSpec
from sandmount.observe import Sandbox


def grant_records(sandbox: Sandbox, grants: Sequence[Grant], allowlist: Allowlist) -> Iterator[str]:
    """A line for each grant: what was asked for, the entry that granted it, and what the Pod mounts."""
    for grant in grants:
        yield _line(
            sandbox,
            allowlist,
            "granted",
            volume=grant.volume,
            path=_asked_for(sandbox, grant.volume),
            entry=None if allowlist.allows_all else grant.root,
            root=grant.root,
            subPath=grant.sub_path,
            readOnly=grant.read_only,
            nodes=dict(grant.nodes),
        )


def denial_records(sandbox: Sandbox, denials: Sequence[Denial], allowlist: Allowlist) -> Iterator[str]:
    """A line for each denial: what was asked for, and why not."""
    for denial in denials:
        yield _line(
            sandbox,
            allowlist,
            "denied",
            volume=denial.volume,
            path=denial.path,
            entry=None,
            reason=denial.reason,
            message=denial.message,
        )


def _asked_for(sandbox: Sandbox, volume: str) -> str:
    """host.path with the volume's subPath."""
    if isinstance(sandbox.spec, InvalidSpec):
        return ""
    return next(
        (paths.join(v.host.path, v.sub_path or "") for v in sandbox.spec.volumes if v.host and v.name == volume), ""
    )


def _line(sandbox: Sandbox, allowlist: Allowlist, decision: str, **facts: Any) -> str:
    who = {"decision": decision, "namespace": sandbox.namespace, "sandbox": sandbox.name, "uid": sandbox.uid}
    return json.dumps(who | facts | {"list": allowlist.version})
