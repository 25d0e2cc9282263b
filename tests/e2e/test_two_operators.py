"""Two operators at once, as in a rolling update or by mistake: they may waste a request, and must not fight."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, OperatorProcess, wait_until
from tests.support.audit import AuditLog, Request, counted
from tests.support.fixtures import Recorder, Sandboxes, host_volume
from tests.support.kubectl import condition_of, is_true, tail

BUSY_SECONDS = 50.0
SETTLED_SECONDS = 60.0
QUIET_SECONDS = 10.0
PAUSE_SECONDS = 0.4
"""Between two steps: a bounded rate of changes, and a look at the Pods with each."""

MOST_SANDBOXES = 8
ALONE = ("alone-1", "alone-2", "alone-3")

# Create the Pod and write Ready is 2. A slow start is 1 more, a changed spec also deletes a Pod and says so.
WRITES_OF_A_START = 3
WRITES_OF_A_CHANGE = 6


@pytest.fixture
def second(cluster: Cluster, operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """Another operator beside the first one, with the same rights and settings."""
    another = OperatorProcess(cluster, operator.settings)
    try:
        another.start()
        another.wait_until_working()
        yield another
    finally:
        another.close()


@contextmanager
def followed(sandboxes: Sandboxes) -> Iterator[list[Json]]:
    """A list that holds, when the block has ended, every state of every Sandbox that the watch showed."""
    seen: list[Json] = []
    kube = sandboxes.kube
    command = [str(kube.binary), f"--kubeconfig={kube.kubeconfig}", "get", SANDBOXES, "-n", sandboxes.namespace]
    with tempfile.TemporaryFile("w+") as output:
        watch = subprocess.Popen([*command, "--watch", "-o", "json"], stdout=output)
        try:
            yield seen
        finally:
            ended = watch.poll()
            watch.terminate()
            watch.wait()
        assert ended is None, f"the watch ended by itself with exit code {ended}"
        output.seek(0)
        seen += _objects(output.read())


def _objects(text: str) -> Iterator[Json]:
    """JSON objects that stand one after another."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        found, at = decoder.raw_decode(text, at)
        yield found


class Asked:
    """What a user asked for so far: names with the value of a variable, and how often each was changed."""

    def __init__(self, sandboxes: Sandboxes, shared: Path, rng: random.Random) -> None:
        self.wanted: dict[str, str] = {}
        self.changes: Counter[str] = Counter()
        self._made = 0
        self._sandboxes, self._shared, self._rng = sandboxes, shared, rng

    def step(self) -> None:
        """Create a Sandbox, change one or delete one."""
        what = self._rng.choice(["create", "create", "change", "delete"])
        if not self.wanted or (what == "create" and len(self.wanted) < MOST_SANDBOXES):
            self._made += 1
            self.put(f"s{self._made:03}", "0")
        elif what == "delete":
            name = self._rng.choice(sorted(self.wanted))
            del self.wanted[name]
            self._sandboxes.delete(name, "--wait=false")
        else:
            name = self._rng.choice(sorted(self.wanted))
            self.changes[name] += 1
            self.put(name, str(self.changes[name]))

    def put(self, name: str, value: str) -> None:
        """Create a Sandbox, or change it to this value."""
        self.wanted[name] = value
        self._sandboxes.apply(name, host_volume(self._shared), env=[{"name": "V", "value": value}])

    def allowed_writes(self, name: str) -> int:
        """How many writes of operators a Sandbox may have cost."""
        return WRITES_OF_A_START + WRITES_OF_A_CHANGE * self.changes[name]


def pods(sandboxes: Sandboxes) -> list[Json]:
    """All Pods of the namespace."""
    return sandboxes.kube.items("pods", "-n", sandboxes.namespace)


def doubled(found: list[Json]) -> list[str]:
    """Sandboxes, by uid, that own more than one Pod."""
    owners = Counter(owner["uid"] for pod in found for owner in pod["metadata"].get("ownerReferences", ()))
    return [f"{uid} owns {number} Pods" for uid, number in owners.items() if number > 1]


def not_as_asked(sandboxes: Sandboxes, wanted: dict[str, str]) -> list[str]:
    """What differs from what was asked for, at the end."""
    found = {s["metadata"]["name"]: s for s in sandboxes.kube.items(SANDBOXES, "-n", sandboxes.namespace)}
    values = {p["metadata"]["name"]: p["spec"]["containers"][0]["env"][0]["value"] for p in pods(sandboxes)}
    wrong = [f"Sandboxes {sorted(found)}, asked for {sorted(wanted)}"] if found.keys() != wanted.keys() else []
    wrong += [f"Pods with V {values}, asked for {wanted}"] if values != wanted else []
    return wrong + [f"{n} is not Ready: {s.get('status')}" for n, s in found.items() if not is_true(s, "Ready")]


def flaps(seen: list[Json]) -> list[str]:
    """Sandboxes whose condition Ready was True and then not, about one and the same spec."""
    stories: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for sandbox in seen:
        ready = condition_of(sandbox, "Ready")
        if ready is not None and "deletionTimestamp" not in sandbox["metadata"]:
            meta = sandbox["metadata"]
            stories[meta["name"], meta["uid"], ready["observedGeneration"]].append(
                f"{ready['status']} {ready['reason']}"
            )
    return [
        f"{name}, generation {generation}: {' -> '.join(story)}"
        for (name, _, generation), story in stories.items()
        if any(one.startswith("True") and not other.startswith("True") for one, other in pairwise(story))
    ]


def by_sandbox(writes: list[Request]) -> dict[str, list[Request]]:
    """Writes about Sandboxes and their Pods, which have the same name."""
    found: dict[str, list[Request]] = defaultdict(list)
    for write in writes:
        if write.what in {"pods", "sandboxes/status"}:
            found[write.name].append(write)
    return found


def show(per_sandbox: dict[str, list[Request]], asked: Asked, record: Recorder) -> None:
    """Record what a reader of the test's output wants to know."""
    for label, changed in (("created, never changed", False), ("created and changed", True)):
        some = {n: w for n, w in per_sandbox.items() if bool(asked.changes[n]) is changed}
        done = [sum(r.succeeded for r in w) for w in some.values()]
        lost = [sum(not r.succeeded for r in w) for w in some.values()]
        if some:
            record(
                f"{len(some)} Sandboxes {label}, {sum(asked.changes[n] for n in some)} changes",
                f"{sum(done) / len(some):.1f} writes each (at most {max(done)}), "
                f"and {sum(lost) / len(some):.1f} that came too late (at most {max(lost)})",
            )
    record("all writes", counted(w for writes in per_sandbox.values() for w in writes))


def test_two_operators_make_one_pod_each_and_do_not_fight(
    sandboxes: Sandboxes,
    shared: Path,
    operator: OperatorProcess,
    second: OperatorProcess,
    cluster: Cluster,
    record_property: Recorder,
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    record_property("seed", seed)
    audit = AuditLog.of(cluster)
    asked = Asked(sandboxes, shared, random.Random(seed))  # noqa: S311 - chooses what to do, protects nothing
    alone = dict.fromkeys(ALONE, "0")
    with followed(sandboxes) as seen:
        for name in ALONE:
            sandboxes.apply(name, host_volume(shared), env=[{"name": "V", "value": "0"}])
        versions = [sandboxes.wait_ready(name)["metadata"]["resourceVersion"] for name in ALONE]
        deadline = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < deadline:
            asked.step()
            time.sleep(PAUSE_SECONDS)
            found = pods(sandboxes)
            assert doubled(found) == []
        wanted = alone | asked.wanted
        wait_until(
            "everything is as asked",
            lambda: not not_as_asked(sandboxes, wanted),
            SETTLED_SECONDS,
            lambda: "\n".join([*not_as_asked(sandboxes, wanted), *tail(operator.log), *tail(second.log)]),
        )
        quiet = AuditLog.of(cluster)
        time.sleep(QUIET_SECONDS)
        assert [str(w) for w in quiet.writes(sandboxes.namespace)] == []
    writes = audit.writes(sandboxes.namespace)
    per_sandbox = by_sandbox(writes)
    show(per_sandbox, asked, record_property)
    assert [sandboxes.get(name)["metadata"]["resourceVersion"] for name in ALONE] == versions
    assert flaps(seen) == []
    assert doubled(pods(sandboxes)) == []
    assert not_as_asked(sandboxes, wanted) == []
    states = Counter(s["metadata"]["name"] for s in seen)
    assert all(states[name] >= 2 for name in wanted), f"the watch showed too little: {states}"
    for name, about in per_sandbox.items():
        done = [str(w) for w in about if w.succeeded]
        assert len(done) <= asked.allowed_writes(name), done
        assert len(about) <= 2 * asked.allowed_writes(name), [str(w) for w in about]
    assert operator.pid is not None, tail(operator.log)
    assert second.pid is not None, tail(second.log)
    assert "Traceback" not in operator.log.read_text() + second.log.read_text()
