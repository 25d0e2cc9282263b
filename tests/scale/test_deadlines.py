"""Ten thousand deadlines: free until they pass, and then acted on at once, also when they passed unseen.

Most are far away and of Sandboxes that are paused, which need no Pod: it is the deadlines that are many here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from tests.cluster.base import ON_SIMULATED_NODES
from tests.cluster.local.cluster import LocalCluster
from tests.scale import load
from tests.scale.conftest import NODES, Recorder
from tests.scale.fleet import GROUP, Key, key_of
from tests.scale.process import cpu_seconds, resident_mib, wait_until_idle
from tests.support import Json, OperatorProcess, wait_until
from tests.support.audit import AuditLog, Request, counted
from tests.support.kubectl import condition_of

pytestmark = pytest.mark.alone

FAR = 9760
NEAR = 200
MISSED = 40
NAMESPACES = tuple(f"deadlines-{number}" for number in range(10))
MADE_SECONDS = 900.0
PATIENCE = 120.0
QUIET_SECONDS = 60.0
LEAD_SECONDS = 30.0
"""From the creation of Sandboxes to the first of their deadlines: all run by then."""
SPREAD_SECONDS = 40.0
SHORTEST_TIMEOUT = 60


@dataclass
class Deadlines:
    """A cluster, an operator, and Sandboxes that end far from now."""

    cluster: LocalCluster
    operator: OperatorProcess
    made_seconds: float = 0.0

    @property
    def pid(self) -> int:
        """The operator's process id."""
        assert self.operator.pid is not None
        return self.operator.pid

    def create(self, sandboxes: Iterable[Json]) -> None:
        """Create all of them."""
        load.do(self.cluster.kubeconfig, lambda api: api.create_all(sandboxes))

    def look(self, group: str) -> dict[Key, Json]:
        """The Sandboxes of a group as they are."""
        found = load.do(self.cluster.kubeconfig, lambda api: api.sandboxes(f"{GROUP}={group}"))
        return {key_of(s): s for s in found}

    def wait_for(self, kind: str, group: str, seconds: float) -> dict[Key, Json]:
        """Wait until all of a group have this condition, and return them."""

        def ask() -> dict[Key, Json] | None:
            wait_until_idle(self.pid, seconds)
            found = self.look(group)
            return found if all((condition_of(s, kind) or {}).get("status") == "True" for s in found.values()) else None

        return wait_until(f"all {group} are {kind}", ask, seconds)

    def wait_until_run(self, group: str, count: int) -> dict[Key, Json]:
        """Wait until all of a group were Ready once, and return them."""

        def ask() -> dict[Key, Json] | None:
            found = self.look(group)
            return found if sum("startedAt" in (s.get("status") or {}) for s in found.values()) == count else None

        return wait_until(f"all {group} run", ask, LEAD_SECONDS)


def sandbox(group: str, number: int, **spec: object) -> Json:
    """A Sandbox in one of the namespaces."""
    namespace = NAMESPACES[number % len(NAMESPACES)]
    return {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": f"{group}-{number:04}", "namespace": namespace, "labels": {GROUP: group}},
        "spec": {"image": "busybox:stable", **ON_SIMULATED_NODES, **spec},
    }


def after(moment: datetime, seconds: float) -> str:
    """A time as it stands in a spec, to the second."""
    return (moment + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def near(number: int, begun: datetime) -> Json:
    """One that ends soon: by its time, or by its timeout; and some of them go then."""
    policy = {"expiryPolicy": "Delete"} if number % 5 == 0 else {}
    if number % 4 == 0:
        return sandbox("near", number, timeoutSeconds=SHORTEST_TIMEOUT + number % 7, **policy)
    end = after(begun, LEAD_SECONDS + SPREAD_SECONDS * number / NEAR)
    return sandbox("near", number, expiresAt=end, **policy)


@pytest.fixture(scope="module")
def deadlines(spare: LocalCluster) -> Iterator[Deadlines]:
    """All that are far away, known to the operator and paused."""
    with spare.simulate_nodes(NODES), OperatorProcess(spare) as operator:
        found = Deadlines(spare, operator)
        for namespace in NAMESPACES:
            operator.kube.make_namespace(namespace)
        begun, now = time.monotonic(), datetime.now(UTC)
        day = timedelta(days=1).total_seconds()
        found.create(sandbox("far", n, paused=True, expiresAt=after(now, day + n)) for n in range(FAR))
        found.wait_for("Paused", "far", MADE_SECONDS)
        found.made_seconds = time.monotonic() - begun
        yield found


def ends(sandboxes: Iterable[Json]) -> dict[Key, datetime]:
    """The deadlines that their statuses tell."""
    return {key_of(s): datetime.fromisoformat(s["status"]["expiresAt"]) for s in sandboxes}


def acted_on(requests: Iterable[Request], verb: str, what: str) -> dict[Key, datetime]:
    """When the first such request about each object came."""
    found: dict[Key, datetime] = {}
    for request in requests:
        if (request.verb, request.what) == (verb, what) and request.succeeded:
            found.setdefault((request.namespace, request.name), request.at)
    return found


def delays(requests: list[Request], sandboxes: Iterable[Json]) -> dict[Key, float]:
    """Seconds from each deadline until the Pod was asked to end, or the Sandbox with it."""
    pods, gone = acted_on(requests, "delete", "pods"), acted_on(requests, "delete", "sandboxes")
    found = {}
    for key, end in ends(sandboxes).items():
        if done := pods.get(key) or gone.get(key):
            found[key] = (done - end).total_seconds()
    return found


def spread(seconds: Iterable[float]) -> str:
    """The first, the median and the last, for people."""
    ordered = sorted(seconds)
    return f"first {ordered[0]:.3f} s, median {median(ordered):.3f} s, last {ordered[-1]:.3f} s"


def check_all_have_ended(deadlines: Deadlines, group: str, before: dict[Key, Json]) -> None:
    """Those that are kept are finished, and the others are gone."""
    kept = {key for key, s in before.items() if s["spec"].get("expiryPolicy") != "Delete"}
    found = deadlines.wait_for("Finished", group, PATIENCE)
    assert set(found) == kept
    assert {(condition_of(s, "Finished") or {})["reason"] for s in found.values()} == {"Expired"}
    assert not [s for s in found.values() if "podName" in s["status"]]


def test_deadlines_that_are_far_cost_nothing(deadlines: Deadlines, audit: AuditLog, record_property: Recorder) -> None:
    record_property("Sandboxes with a deadline", f"{FAR:,}, made and paused in {deadlines.made_seconds:.0f} s")
    before = wait_until_idle(deadlines.pid, PATIENCE)
    record_property("operator until then", f"{before:.1f} s of processor, {resident_mib(deadlines.pid):.0f} MiB")
    audit.begin()
    time.sleep(QUIET_SECONDS)
    used = cpu_seconds(deadlines.pid) - before
    requests = audit.requests()
    record_property(f"operator in {QUIET_SECONDS:.0f} s of quiet", f"{used / QUIET_SECONDS:.2%} of a processor")
    record_property("its requests meanwhile", counted(requests))
    assert [str(r) for r in requests if r.is_write or r.namespace in NAMESPACES] == []


def test_each_is_acted_on_when_it_passes(deadlines: Deadlines, audit: AuditLog, record_property: Recorder) -> None:
    begun = datetime.now(UTC)
    audit.begin()
    deadlines.create(near(number, begun) for number in range(NEAR))
    before = deadlines.wait_until_run("near", NEAR)
    last = max(ends(before.values()).values())
    time.sleep(max(0.0, (last - datetime.now(UTC)).total_seconds()))

    wait_until("all were acted on", lambda: len(delays(audit.requests(), before.values())) == NEAR, PATIENCE)
    check_all_have_ended(deadlines, "near", before)
    late = delays(audit.requests(), before.values())
    for words, chosen in (("expiresAt", has_end), ("timeoutSeconds", has_no_end)):
        some = [late[key] for key, s in before.items() if chosen(s)]
        record_property(f"acted on after {words} of {len(some)}", spread(some))
    writes = [r for r in audit.requests() if r.is_write]
    record_property("writes", counted(writes))
    assert min(late.values()) >= 0, "none before its time"
    assert {(w.namespace, w.name) for w in writes if w.what != "events"} == set(before)


def test_what_passed_unseen_is_acted_on_when_the_operator_is_back(
    deadlines: Deadlines, audit: AuditLog, record_property: Recorder
) -> None:
    soon = datetime.now(UTC)
    deadlines.create(sandbox("missed", n, expiresAt=after(soon, LEAD_SECONDS + n % 5)) for n in range(MISSED))
    before = deadlines.wait_until_run("missed", MISSED)
    deadlines.operator.kill()
    last = max(ends(before.values()).values())
    time.sleep(max(0.0, (last - datetime.now(UTC)).total_seconds() + 1))
    audit.begin()
    started = datetime.now(UTC)
    deadlines.operator.start()
    deadlines.operator.wait_until_working(PATIENCE)
    working = datetime.now(UTC)
    record_property(
        f"from the start until all {FAR + MISSED:,} are known", f"{(working - started).total_seconds():.1f} s"
    )
    wait_until("all were acted on", lambda: len(delays(audit.requests(), before.values())) == MISSED, PATIENCE)
    check_all_have_ended(deadlines, "missed", before)
    done = acted_on(audit.requests(), "delete", "pods")
    record_property("acted on after that", spread((at - working).total_seconds() for at in done.values()))
    record_property("operator", f"{resident_mib(deadlines.pid):.0f} MiB")
    writes = [r for r in audit.requests() if r.is_write]
    record_property("writes", counted(writes))
    assert {(w.namespace, w.name) for w in writes if w.what != "events"} == set(before)


def has_end(found: Json) -> bool:
    """Whether it ends at a time that was written down."""
    return "expiresAt" in found["spec"]


def has_no_end(found: Json) -> bool:
    """Whether it ends so long after it was Ready."""
    return not has_end(found)
