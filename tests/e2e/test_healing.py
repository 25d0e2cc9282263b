"""What went by itself comes back: Pods that are deleted, evicted or failed, on a real kubelet, and when that ends."""

import json
from pathlib import Path

from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.verdicts import live

FILLS_SCRATCH = ["sh", "-c", "[ -e /mnt/data/enough ] || head -c 20000000 /dev/zero > /scratch/big; exec sleep 1000"]
SCRATCH = {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}, "mountPath": "/scratch"}


def told(sandboxes: Sandboxes, name: str) -> list[str]:
    """Reasons of the Events about a Sandbox."""
    events = sandboxes.kube.items("events", "-n", sandboxes.namespace)
    about = [e for e in events if e["involvedObject"]["kind"] == "Sandbox" and e["involvedObject"]["name"] == name]
    return sorted(e["reason"] for e in about)


def wait_restarts(sandboxes: Sandboxes, name: str, count: int) -> Json:
    """The Sandbox, once it is Ready after so many restarts."""

    def ask() -> Json | None:
        found = sandboxes.wait_ready(name, seconds=90)
        return found if found["status"].get("restarts") == count else None

    return wait_until(f"{name} was made again {count} times", ask, 120)


def test_a_pod_that_somebody_deletes_is_made_again_on_its_node(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    sandboxes.apply("deleted", host_volume(shared), restartPolicy="Never")
    before = sandboxes.wait_ready("deleted")["status"]
    kube.delete("pod", "deleted", sandboxes.namespace)
    after = wait_restarts(sandboxes, "deleted", 1)["status"]
    assert (after["nodeName"], after["startedAt"]) == (before["nodeName"], before["startedAt"])
    assert told(sandboxes, "deleted") == ["PodDeleted", "Recovered"]
    affinity = (sandboxes.pod("deleted") or {})["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [f["values"] for t in terms for f in t["matchFields"]] == [[before["nodeName"]]]


def test_a_second_loss_waits_and_the_count_survives_the_operator(
    sandboxes: Sandboxes, kube: Kube, operator: OperatorProcess
) -> None:
    sandboxes.apply("again")
    sandboxes.wait_ready("again")
    kube.delete("pod", "again", sandboxes.namespace)
    wait_restarts(sandboxes, "again", 1)
    kube.delete("pod", "again", sandboxes.namespace)
    waiting = sandboxes.wait_reason("again", "PodDeleted")
    assert "a new Pod is made in 2 s (restart 2 of at most 10 in a row)" in waiting["message"]
    live.check("replaced", sandboxes.get("again"))
    operator.kill()
    operator.start()
    operator.wait_until_working()
    wait_restarts(sandboxes, "again", 2)


def test_an_eviction_by_the_api_is_made_good(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("moved")
    sandboxes.wait_ready("moved")
    namespace = sandboxes.namespace
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "moved", "namespace": namespace}}
    kube.feed(json.dumps(eviction), "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/moved/eviction", "-f", "-")
    wait_restarts(sandboxes, "moved", 1)


def test_a_pod_that_the_kubelet_evicts_is_replaced_with_the_kubelets_words(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    sandboxes.apply("evicted", host_volume(shared), SCRATCH, entrypoint=FILLS_SCRATCH)
    lost = sandboxes.wait_reason("evicted", "Evicted", seconds=120)
    assert 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi"' in lost["message"]
    (shared / "enough").touch()
    sandboxes.wait_ready("evicted", seconds=120)
    assert sandboxes.get("evicted")["status"]["restarts"] >= 1
    assert "Evicted" in told(sandboxes, "evicted")


def test_after_ten_losses_in_a_row_it_is_stalled_until_its_spec_changes(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("hopeless")
    sandboxes.wait_ready("hopeless")
    patch = json.dumps({"status": {"restarts": 10}})
    kube.run("patch", SANDBOXES, "hopeless", "-n", sandboxes.namespace, "--subresource=status", "--type=merge",
             "-p", patch)  # fmt: skip
    kube.delete("pod", "hopeless", sandboxes.namespace)
    stalled = sandboxes.wait_reason("hopeless", "RestartLimit", kind="Stalled")
    assert stalled["message"].startswith("its Pod was lost 11 times in a row, the last time as PodDeleted")
    live.check("restart-limit", sandboxes.get("hopeless"))
    assert sandboxes.pod("hopeless") is None
    sandboxes.apply("hopeless", env=[{"name": "A", "value": "b"}])
    assert "restarts" not in sandboxes.wait_ready("hopeless")["status"]


def test_a_job_that_failed_stays_stalled_when_its_pod_is_removed(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("failed", entrypoint=["sh", "-c", "exit 4"], restartPolicy="Never")
    sandboxes.wait_reason("failed", "PodFailed", kind="Stalled")
    live.check("pod-failed", sandboxes.get("failed"))
    kube.delete("pod", "failed", sandboxes.namespace)
    sandboxes.apply("other")
    sandboxes.wait_ready("other")
    sandboxes.wait_reason("failed", "PodFailed", kind="Stalled")
    assert sandboxes.pod("failed") is None
    sandboxes.apply("failed", entrypoint=["sh", "-c", "exit 0"], restartPolicy="Never")
    sandboxes.wait_reason("failed", "Completed", kind="Finished")


def test_a_job_that_is_started_again_on_failure_finishes(sandboxes: Sandboxes, shared: Path) -> None:
    once = ["sh", "-c", "[ -e /mnt/data/second ] || { touch /mnt/data/second; exit 5; }"]
    sandboxes.apply("job", host_volume(shared), entrypoint=once, restartPolicy="OnFailure")
    sandboxes.wait_reason("job", "Completed", kind="Finished", seconds=90)
    live.check("completed", sandboxes.get("job"))
    assert told(sandboxes, "job")[0] == "Completed"
