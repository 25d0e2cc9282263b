"""Least privilege, from what was really asked: `python -m tests.rights`, at the end of `make test-deployed`.

Each worker of a run has left what the operator asked of its API server (`leave`, from the audit log). That is held
against the rules of the roles that the manifests bind to its account: every granted verb was used, and nothing else was
asked.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

import yaml

from tests.cluster import Cluster
from tests.support import Json
from tests.support.audit import OPERATOR
from tests.support.installation import MANIFESTS, SERVICE_ACCOUNT
from tests.support.kubectl import OPERATOR_NAMESPACE

FOLDER = MANIFESTS.parent / "build" / "rights"


@dataclass(frozen=True, order=True)
class Right:
    """One verb for one resource; in one namespace unless that is empty, and for one name unless that is empty."""

    verb: str
    group: str
    resource: str
    """With its subresource: ``sandboxes/status``."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}".rstrip(".") + (f" {self.name}" if self.name else "")
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")

    def covers(self, request: Right) -> bool:
        """Whether this is enough for that request."""
        same = (self.verb, self.group, self.resource) == (request.verb, request.group, request.resource)
        return same and self.namespace in ("", request.namespace) and self.name in ("", request.name)


NOT_ASKED = Right("update", "sandmount.dev", "sandboxes/finalizers")
"""Looked up by an admission plugin when an owner reference has blockOwnerDeletion; never a request of its own."""


def granted(objects: Iterable[Json]) -> set[Right]:
    """What the roles among these objects grant that are bound to the operator's account."""
    items = list(objects)
    bound = {
        (b["roleRef"]["kind"], b["roleRef"]["name"])
        for b in items
        if b["kind"] in ("ClusterRoleBinding", "RoleBinding")
        and any(s["kind"] == "ServiceAccount" and s["name"] == SERVICE_ACCOUNT for s in b["subjects"])
    }
    roles = [r for r in items if (r["kind"], r["metadata"]["name"]) in bound]
    return {right for role in roles for right in _rights(role)}


def _rights(role: Json) -> Iterator[Right]:
    namespace = role["metadata"].get("namespace", "")
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(verb, group, resource, namespace, name)


def asked(cluster: Cluster) -> Counter[Right]:
    """What the operator has asked of this cluster's API server since that was started, and how often.

    Which kinds there are (``/apis`` and below) is not counted: every account may ask that.
    """
    assert cluster.audit_log is not None
    with cluster.audit_log.open("rb") as log:
        events = (json.loads(line) for line in log if line.endswith(b"\n") and OPERATOR.encode() in line)
        return Counter(_asked(e) for e in events if e["user"]["username"] == OPERATOR and "objectRef" in e)


def leave(cluster: Cluster, worker: str) -> None:
    """Writes that to a file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = asked(cluster)
    (FOLDER / f"{worker}.json").write_text(json.dumps([[*astuple(right), n] for right, n in sorted(found.items())]))


def _asked(event: Json) -> Right:
    about = event["objectRef"]
    what = "/".join(about[k] for k in ("resource", "subresource") if about.get(k))
    own = about.get("namespace") == OPERATOR_NAMESPACE  # elsewhere names are those of tests, and one rule is for all
    place = (OPERATOR_NAMESPACE, about.get("name", "")) if own else ("", "")
    return Right(event["verb"], about.get("apiGroup", ""), what, *place)


def left() -> Counter[Right]:
    """What all workers have left."""
    found: Counter[Right] = Counter()
    for file in sorted(FOLDER.glob("*.json")):
        found.update({Right(*row[:-1]): row[-1] for row in json.loads(file.read_text())})
    return found


def compared(rights: set[Right], found: Counter[Right]) -> tuple[list[str], list[str]]:
    """A line for each right with how often it was used; and what is wrong with what was ``found`` to be asked."""
    uses = {right: sum(n for a, n in found.items() if right.covers(a)) for right in rights}
    lines = [f"{uses[right]:8} x {right}" for right in sorted(rights)]
    wrong = [f"granted and never used: {r}" for r in sorted(rights) if not uses[r] and r != NOT_ASKED]
    wrong += [f"asked {n} times and not granted: {a}" for a, n in sorted(found.items()) if not _any(rights, a)]
    return lines, wrong


def _any(rights: set[Right], request: Right) -> bool:
    return any(right.covers(request) for right in rights)


def main(objects: Iterable[Json]) -> int:
    """Prints what was used and what is wrong; the exit code."""
    found = left()
    if not found:
        print(f"{FOLDER} is empty: run `make test-deployed` first", file=sys.stderr)
        return 2
    lines, wrong = compared(granted(objects), found)
    print("\n".join([*lines, *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    files = [MANIFESTS / "base" / "rbac.yaml", MANIFESTS / "webhook" / "rbac.yaml"]
    sys.exit(main(item for file in files for item in yaml.safe_load_all(file.read_text())))
