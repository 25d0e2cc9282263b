"""A change of the allowlist among thousands of Sandboxes: at once for those it concerns, free for all others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from statistics import median

import pytest

from tests.cluster.local.certs import ADMINISTRATOR
from tests.scale import load
from tests.scale.conftest import Recorder
from tests.scale.fleet import COUNT, FIRST_LIST, GROUP, NAMESPACES, SECOND_LIST, Fleet, Key, key_of, sandbox
from tests.scale.load import Load
from tests.scale.process import cpu_seconds, resident_mib, wait_until_idle
from tests.support import wait_until
from tests.support.audit import AuditLog, Request, counted
from tests.support.kubectl import ALLOWLIST_NAME

pytestmark = pytest.mark.alone

PATIENCE = 60.0
"""Seconds that a change may take at most; what it takes is printed."""
QUIET_SECONDS = 60.0
PROBES = 40
PAUSE_SECONDS = 0.1


def seconds_after(moment: datetime, requests: Iterable[Request], verb: str, what: str) -> dict[Key, float]:
    """When the first such request about each object came."""
    found: dict[Key, float] = {}
    for request in requests:
        if (request.verb, request.what) == (verb, what) and request.succeeded:
            found.setdefault((request.namespace, request.name), (request.at - moment).total_seconds())
    return found


def moment_of_change(audit: AuditLog) -> datetime:
    """When the API server got the new list."""
    changes = [r for r in audit.requests(ADMINISTRATOR) if r.name == ALLOWLIST_NAME and r.is_write]
    return changes[-1].at


def writes(audit: AuditLog) -> list[Request]:
    """What the operator has written."""
    return [request for request in audit.requests() if request.is_write]


def spread(seconds: Iterable[float]) -> str:
    """The first, the median and the last, for people."""
    ordered = sorted(seconds)
    return f"first {ordered[0]:.2f} s, median {median(ordered):.2f} s, last {ordered[-1]:.2f} s"


def test_a_change_that_concerns_nobody_is_free(fleet: Fleet, audit: AuditLog, record_property: Recorder) -> None:
    record_property("Sandboxes", f"{COUNT:,} in {len(NAMESPACES)} namespaces")
    record_property("created in", f"{fleet.created_seconds:.0f} s, all Ready after {fleet.ready_seconds:.0f} s")
    before = wait_until_idle(fleet.pid, PATIENCE)
    record_property("operator until then", f"{before:.1f} s of processor, {resident_mib(fleet.pid):.0f} MiB")
    loaded = fleet.lists_loaded()
    audit.begin()
    fleet.operator.kube.set_allowlist(f"{FIRST_LIST}- path: /srv/scale/elsewhere\n  namespaces: [elsewhere]\n")
    wait_until("the list is loaded", lambda: fleet.lists_loaded() > loaded, PATIENCE)
    used = wait_until_idle(fleet.pid, PATIENCE) - before
    record_property("operator's processor time for deciding anew", f"{used:.2f} s")
    assert writes(audit) == []


def test_a_change_reaches_those_it_concerns_and_nobody_else(
    fleet: Fleet, audit: AuditLog, record_property: Recorder
) -> None:
    losing, winning = fleet.keys("first"), fleet.keys("second")
    before = {key_of(s): s["metadata"]["resourceVersion"] for s in fleet.look()}
    used = wait_until_idle(fleet.pid, PATIENCE)
    audit.begin()
    fleet.operator.kube.set_allowlist(SECOND_LIST)

    def seen(verb: str, what: str, about: set[Key]) -> dict[Key, float]:
        found = seconds_after(moment_of_change(audit), writes(audit), verb, what)
        return {key: when for key, when in found.items() if key in about}

    def has_reached_all() -> bool:
        stopped, told = seen("delete", "pods", losing), seen("patch", "sandboxes/status", losing)
        return losing == set(stopped) == set(told) and winning == set(seen("create", "pods", winning))

    wait_until("the change has reached all", has_reached_all, PATIENCE, lambda: counted(writes(audit)))
    wanted = {"common": "PodReady", "first": "HostPathNotAllowed", "second": "PodReady"}
    after = {key_of(s): s for s in fleet.wait_for(wanted, PATIENCE)}
    used = wait_until_idle(fleet.pid, PATIENCE) - used
    record_property("Pods asked to end", spread(seen("delete", "pods", losing).values()))
    record_property("their Sandboxes told why", spread(seen("patch", "sandboxes/status", losing).values()))
    record_property("Pods of the newly allowed created", spread(seen("create", "pods", winning).values()))
    record_property("operator", f"{used:.2f} s of processor, {resident_mib(fleet.pid):.0f} MiB")
    record_property("writes", counted(writes(audit)))

    assert {(w.namespace, w.name) for w in writes(audit) if w.what != "events"} == losing | winning
    assert fleet.told_by_events() <= losing | winning
    changed = {key for key, found in after.items() if found["metadata"]["resourceVersion"] != before[key]}
    assert changed == losing | winning
    assert {after[key]["status"]["phase"] for key in losing} == {"Failed"}
    assert not any("podName" in after[key]["status"] for key in losing)


def test_nothing_is_written_when_nothing_changes(fleet: Fleet, audit: AuditLog, record_property: Recorder) -> None:
    before = wait_until_idle(fleet.pid, PATIENCE)
    audit.begin()
    time.sleep(QUIET_SECONDS)
    used = cpu_seconds(fleet.pid) - before
    record_property(f"operator in {QUIET_SECONDS:.0f} s of quiet", f"{used / QUIET_SECONDS:.2%} of a processor")
    record_property("its requests meanwhile", counted(audit.requests()))
    assert writes(audit) == []


def test_new_sandboxes_are_decided_on_by_the_new_list_at_once(
    fleet: Fleet, audit: AuditLog, record_property: Recorder
) -> None:
    for name, change in (("calm", ""), ("changed", FIRST_LIST)):
        wait_until_idle(fleet.pid, PATIENCE)
        audit.begin()
        load.do(fleet.cluster.kubeconfig, partial(probe, name=name, change=change))
        wait_until("all probes are decided on", lambda: len(decisions(audit)) == PROBES, PATIENCE)
        record_property(f"from creation to decision, {name}", spread(decisions(audit).values()))
    late = seconds_after(moment_of_change(audit), writes(audit), "create", "pods")
    against = [when for (_, name), when in late.items() if name.startswith("changed-second")]
    record_property("Pods created against the new list", f"{len(against)}, last after {max(against, default=0):.2f} s")
    found = fleet.wait_for({"common": "PodReady", "first": "PodReady", "second": "HostPathNotAllowed"}, PATIENCE)
    assert {key_of(s) for s in found if "podName" not in s["status"]} == {
        key_of(s) for s in found if s["metadata"]["labels"][GROUP] == "second"
    }


async def probe(api: Load, name: str, change: str) -> None:
    """Create Sandboxes of both small groups in turn, one every PAUSE_SECONDS, from a change of the list on."""
    if change:
        await api.set_allowlist(change)
    for number in range(PROBES):
        group = ("first", "second")[number % 2]
        await api.create(sandbox(number, group, f"{name}-{group}-{number}"))
        await asyncio.sleep(PAUSE_SECONDS)


def decisions(audit: AuditLog) -> dict[Key, float]:
    """Seconds from the creation of each new Sandbox until its Pod was created, or its status written."""
    decided = [w for w in writes(audit) if (w.verb, w.what) in (("create", "pods"), ("patch", "sandboxes/status"))]
    made = [r for r in audit.requests(ADMINISTRATOR) if (r.verb, r.what) == ("create", "sandboxes")]
    found = {}
    for creation in made:
        key = creation.namespace, creation.name
        first = next((w.at for w in decided if (w.namespace, w.name) == key), None)
        if first is not None:
            found[key] = (first - creation.at).total_seconds()
    return found
