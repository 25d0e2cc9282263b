"""What fails must not be noticed: the operator killed, its watches broken, the API server away, Pods meddled with."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, OperatorProcess, wait_until
from tests.support.audit import AuditLog, counted
from tests.support.fixtures import Recorder, Sandboxes, host_volume
from tests.support.kubectl import is_true, tail

pytestmark = pytest.mark.usefixtures("no_traceback")

WAIT = 120.0
"""After an API server was away, the scheduler and the garbage collector look for it again up to 30 s later."""

TOKEN_CACHE_SECONDS = 12
"""The API server accepts a token that has ended for up to ten seconds."""
QUIET_SECONDS = 5.0
KILLS = 6
CHANGES = 36
NAMES = [f"s{number:02}" for number in range(12)]
LABEL = "sandmount.dev/sandbox"


@contextmanager
def blind(operator: OperatorProcess, cluster: Cluster) -> Iterator[None]:
    """Inside, the operator neither acts nor hears; afterwards its watches begin from what etcd no longer knows.

    Its connections are cut before anything happens: what the API server had sent would still be read from them.
    """
    pid = operator.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        cluster.restart("kube-apiserver")
        yield
        cluster.compact_etcd()
        cluster.restart("kube-apiserver")
    finally:
        os.kill(pid, signal.SIGCONT)


def pods_of(sandboxes: Sandboxes) -> dict[str, Json]:
    """All Pods of the namespace by name."""
    return {p["metadata"]["name"]: p for p in sandboxes.kube.items("pods", "-n", sandboxes.namespace)}


def uid_of(found: Json | None) -> str:
    """The uid of an object that has to be there."""
    assert found is not None
    return str(found["metadata"]["uid"])


def differences(sandboxes: Sandboxes, wanted: Mapping[str, str]) -> list[str]:
    """What is not as asked. ``wanted`` maps the names of all Sandboxes that there should be to their variable V."""
    found = {s["metadata"]["name"]: s for s in sandboxes.kube.items(SANDBOXES, "-n", sandboxes.namespace)}
    pods = pods_of(sandboxes)
    wrong = [f"Sandbox {name} should not be there" for name in found.keys() - wanted.keys()]
    wrong += [f"Pod {name} should not be there" for name in pods.keys() - wanted.keys()]
    for name, value in wanted.items():
        sandbox, pod = found.get(name), pods.get(name)
        if sandbox is None or pod is None:
            wrong.append(f"{name}: {'the Sandbox' if sandbox is None else 'its Pod'} is not there")
            continue
        env = {e["name"]: e["value"] for e in pod["spec"]["containers"][0].get("env", ())}
        owners = [o["uid"] for o in pod["metadata"]["ownerReferences"]]
        if "deletionTimestamp" in sandbox["metadata"] or "deletionTimestamp" in pod["metadata"]:
            wrong.append(f"{name} is being deleted")
        if not is_true(sandbox, "Ready"):
            wrong.append(f"{name} is not Ready about its newest generation: {sandbox.get('status')}")
        if env != {"V": value}:
            wrong.append(f"{name}: its Pod has {env}, asked for V={value}")
        if owners != [uid_of(sandbox)]:
            wrong.append(f"{name}: its Pod belongs to {owners}, not to {uid_of(sandbox)}")
    return wrong


def wait_until_as_asked(sandboxes: Sandboxes, wanted: Mapping[str, str], seconds: float = WAIT) -> None:
    """Returns when every Sandbox of the namespace, and its one Pod, is as asked."""
    seen: list[str] = []

    def as_asked() -> bool:
        seen[:] = differences(sandboxes, wanted)
        return not seen

    wait_until("everything is as asked", as_asked, seconds, lambda: "\n".join([*seen, *tail(sandboxes.log, 30)]))


def wait_until_pod_is_gone(sandboxes: Sandboxes, name: str, uid: str, seconds: float = WAIT) -> None:
    """Returns when there is no Pod with this name and uid."""

    def gone() -> bool:
        pod = sandboxes.pod(name)
        return pod is None or uid_of(pod) != uid

    story = sandboxes.kube.story
    wait_until(f"Pod {name} is gone", gone, seconds, lambda: story(name, sandboxes.namespace, sandboxes.log))


def variable(value: str) -> list[Json]:
    """The env of a Sandbox of these tests; another value needs another Pod."""
    return [{"name": "V", "value": value}]


def create(sandboxes: Sandboxes, shared: Path, *names: str, value: str = "0") -> dict[str, str]:
    """Create Sandboxes with a host volume at once. Returns what is now wanted."""
    made = [sandboxes.manifest(name, host_volume(shared), env=variable(value)) for name in names]
    sandboxes.kube.apply(made)
    return dict.fromkeys(names, value)


def meddle(sandboxes: Sandboxes, shared: Path, rng: random.Random) -> dict[str, str]:
    """Create, change and delete Sandboxes at random, for some seconds. Returns what is wanted in the end."""
    wanted = create(sandboxes, shared, *NAMES)
    for number in range(1, CHANGES + 1):
        time.sleep(rng.uniform(0, 0.6))
        name = rng.choice(NAMES)
        if name in wanted and rng.random() < 0.4:
            sandboxes.delete(name, f"--wait={rng.choice(['true', 'false'])}")
            del wanted[name]
        elif name in wanted or sandboxes.kube.find(SANDBOXES, name, sandboxes.namespace) is None:
            wanted |= create(sandboxes, shared, name, value=str(number))
    return wanted


def test_everything_is_as_asked_after_an_operator_that_was_killed_again_and_again(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess, record_property: Recorder
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    record_property("seed", seed)
    rng = random.Random(seed)  # noqa: S311 - chooses what to do, protects nothing
    moments = [rng.uniform(0.1, 3.5) for _ in range(KILLS)]
    stop = threading.Event()
    failures: list[BaseException] = []

    def keep_killing() -> None:
        try:
            for moment in moments:
                stop.wait(moment)
                operator.kill()
                operator.start()
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            failures.append(error)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        wanted = meddle(sandboxes, shared, rng)
    finally:
        stop.set()
        killer.join()
        operator.kill()
        operator.start()
        operator.wait_until_working()
    assert not failures, failures
    record_property("Sandboxes that remain", f"{len(wanted)} of {len(NAMES)}")
    wait_until_as_asked(sandboxes, wanted)
    before = {name: uid_of(pod) for name, pod in pods_of(sandboxes).items()}
    time.sleep(2)
    assert not differences(sandboxes, wanted)
    assert {name: uid_of(pod) for name, pod in pods_of(sandboxes).items()} == before


def test_a_sandbox_deleted_while_the_operator_is_down_goes_away_with_its_pod(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    wait_until_as_asked(sandboxes, create(sandboxes, shared, "gone"))
    sandbox, pod = sandboxes.get("gone"), sandboxes.pod("gone")
    assert "finalizers" not in sandbox["metadata"]
    assert "annotations" not in sandbox["metadata"]
    with operator.away():
        sandboxes.delete("gone", "--timeout=5s")
        wait_until_pod_is_gone(sandboxes, "gone", uid_of(pod))
    assert not pods_of(sandboxes)


def test_a_restart_starts_what_is_new_and_writes_nothing_about_what_is_ready(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess, audit: AuditLog, record_property: Recorder
) -> None:
    old = create(sandboxes, shared, "old-1", "old-2", "old-3", "old-4")
    wait_until_as_asked(sandboxes, old)
    with operator.away():
        new = create(sandboxes, shared, "new-1", "new-2", "new-3")
        audit.begin()
    wait_until_as_asked(sandboxes, old | new)
    time.sleep(QUIET_SECONDS)
    written = audit.writes(sandboxes.namespace)
    about_old = [w for w in written if w.name not in new]
    record_property(f"writes at a restart about {len(old)} Ready Sandboxes", counted(about_old))
    record_property(f"about {len(new)} new ones", counted(w for w in written if w.name in new))
    assert [str(w) for w in about_old] == []


def test_what_vanishes_while_the_watches_are_broken_is_noticed(
    sandboxes: Sandboxes,
    shared: Path,
    operator: OperatorProcess,
    cluster: Cluster,
    audit: AuditLog,
    record_property: Recorder,
) -> None:
    names = {"pods deleted": ("a", "b", "c"), "deleted": ("x", "y", "z"), "deleted and made again": ("again",)}
    wanted = create(sandboxes, shared, *(name for some in names.values() for name in some), "stays")
    wait_until_as_asked(sandboxes, wanted)
    before = {name: uid_of(pod) for name, pod in pods_of(sandboxes).items()}
    pid = operator.pid
    with blind(operator, cluster):
        gone = (*names["deleted"], *names["deleted and made again"])
        sandboxes.kube.run("delete", SANDBOXES, *gone, "-n", sandboxes.namespace)
        # Those of the deleted ones too: the garbage collector has lost the API server as well, and may come late.
        pods = (*gone, *names["pods deleted"])
        sandboxes.kube.run("delete", "pod", *pods, "-n", sandboxes.namespace, "--now", "--ignore-not-found")
        wait_until("all those Pods are gone", lambda: pods_of(sandboxes).keys() == {"stays"}, WAIT)
        wanted = {name: value for name, value in wanted.items() if name not in gone}
        wanted |= create(sandboxes, shared, *names["deleted and made again"], value="1")
        audit.begin()
    wait_until_as_asked(sandboxes, wanted)
    time.sleep(QUIET_SECONDS)
    assert differences(sandboxes, wanted) == []
    assert uid_of(sandboxes.pod("stays")) == before["stays"]
    assert operator.pid == pid
    written = audit.writes(sandboxes.namespace)
    record_property("writes after the break", counted(written))
    created = sorted(w.name for w in written if w.what == "pods" and w.verb == "create")
    assert created == ["a", "again", "b", "c"], "Pods were created for Sandboxes that are gone"
    assert {w.name for w in written if w.what != "events"} == {"a", "again", "b", "c"}


def test_the_pod_of_an_orphaned_sandbox_is_deleted(sandboxes: Sandboxes, shared: Path) -> None:
    wait_until_as_asked(sandboxes, create(sandboxes, shared, "orphan"))
    uid = uid_of(sandboxes.pod("orphan"))
    sandboxes.delete("orphan", "--cascade=orphan")
    wait_until_pod_is_gone(sandboxes, "orphan", uid)
    assert not pods_of(sandboxes)


def test_a_pod_that_somebody_deletes_is_replaced(sandboxes: Sandboxes, shared: Path) -> None:
    wanted = create(sandboxes, shared, "victim")
    wait_until_as_asked(sandboxes, wanted)
    uid = uid_of(sandboxes.pod("victim"))
    sandboxes.kube.delete("pod", "victim", sandboxes.namespace)
    wait_until_as_asked(sandboxes, wanted)
    assert uid_of(sandboxes.pod("victim")) != uid


@pytest.mark.without_policy("takes labels off, which the policy refuses")
@pytest.mark.parametrize("label", [LABEL, f"{LABEL}-uid"])
def test_a_label_that_somebody_removes_is_put_back_on_the_same_pod(
    sandboxes: Sandboxes, shared: Path, label: str
) -> None:
    wanted = create(sandboxes, shared, "bare")
    wait_until_as_asked(sandboxes, wanted)
    pod = sandboxes.pod("bare")
    assert pod is not None
    sandboxes.kube.run("label", "pod", "bare", f"{label}-", "-n", sandboxes.namespace)

    def is_back() -> bool:
        now = sandboxes.pod("bare")
        return now is not None and now["metadata"]["labels"] == pod["metadata"]["labels"]

    story = sandboxes.kube.story
    wait_until("the label is back", is_back, WAIT, lambda: story("bare", sandboxes.namespace, sandboxes.log))
    assert uid_of(sandboxes.pod("bare")) == uid_of(pod)
    wait_until_as_asked(sandboxes, wanted)


def test_a_finalizer_on_a_deleted_sandbox_does_not_keep_its_pod(sandboxes: Sandboxes, shared: Path) -> None:
    name, namespace = "held", sandboxes.namespace
    manifest = sandboxes.manifest(name, host_volume(shared))
    manifest["metadata"]["finalizers"] = ["example.com/hold"]
    sandboxes.kube.apply(manifest)
    try:
        sandboxes.wait_ready(name)
        pod = sandboxes.pod(name)
        sandboxes.delete(name, "--wait=false")
        wait_until_pod_is_gone(sandboxes, name, uid_of(pod))
        time.sleep(2)
        assert sandboxes.pod(name) is None
        assert "deletionTimestamp" in sandboxes.get(name)["metadata"]
    finally:
        free = '{"metadata": {"finalizers": null}}'
        sandboxes.kube.run("patch", SANDBOXES, name, "-n", namespace, "--type=merge", "-p", free)
    wait_until("the Sandbox is gone", lambda: sandboxes.kube.find(SANDBOXES, name, namespace) is None, WAIT)


def test_an_api_server_that_was_away_costs_nothing_but_time(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess, cluster: Cluster
) -> None:
    pid = operator.pid
    wanted = create(sandboxes, shared, *(f"before-{number}" for number in range(4)))
    cluster.restart("kube-apiserver")
    wanted |= create(sandboxes, shared, *(f"after-{number}" for number in range(4)))
    wait_until_as_asked(sandboxes, wanted)
    assert operator.pid == pid


@pytest.mark.process("exchanges the token in its file; a Pod whose ServiceAccount is made anew has to be restarted")
def test_credentials_that_were_exchanged_are_read_again(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    pid = operator.pid
    operator.exchange_credentials()
    time.sleep(TOKEN_CACHE_SECONDS)
    wait_until_as_asked(sandboxes, create(sandboxes, shared, "later"))
    assert operator.pid == pid
    assert "reading them again" in operator.log.read_text()
