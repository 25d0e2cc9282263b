"""What people and tools do with the resource: kubectl's words for it, its columns, its status, and applying the CRD."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Kubectl, Sandboxes
from tests.api.sandboxes import Json, spec
from tests.api.schema import CRDS

NOW = "2026-01-01T00:00:00Z"

RUNNING: Json = {
    "observedGeneration": 1,
    "phase": "Running",
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": f"it is {reason}",
            "observedGeneration": 1,
            "lastTransitionTime": NOW,
        }
        for kind, reason in (("VolumesAllowed", "Granted"), ("Ready", "ContainerReady"))
    ],
    "podName": "training",
    "podIP": "10.0.0.7",
    "nodeName": "node-1",
    "startedAt": NOW,
    "volumes": [
        {
            "name": "data",
            "root": "/data/shared",
            "subPath": "datasets/train",
            "readOnly": True,
            "recursiveReadOnly": "Enabled",
        }
    ],
}


@pytest.fixture
def training(stored: Sandboxes) -> Sandboxes:
    """A namespace with the Sandbox `training`, which runs."""
    stored.create(spec(image="busybox") | {"metadata": {"name": "training"}})
    stored.patch_status("training", RUNNING)
    return stored


def test_a_new_sandbox_says_that_nobody_has_looked_at_it(sandboxes: Sandboxes) -> None:
    assert sandboxes.try_create(spec(image="busybox"))["status"] == {"observedGeneration": -1}


def test_a_status_that_a_user_sends_is_ignored(stored: Sandboxes) -> None:
    created = stored.create(spec(image="busybox") | {"status": RUNNING})
    patched = stored.patch("trial", {"status": RUNNING})

    assert created["status"] == patched["status"] == {"observedGeneration": -1}


def test_status_is_written_on_its_own_and_counts_as_no_new_generation(training: Sandboxes) -> None:
    assert training.get("training")["status"] == RUNNING

    changed = training.patch("training", {"spec": {"image": "debian"}})
    assert (changed["metadata"]["generation"], changed["status"]) == (2, RUNNING)

    unchanged = training.patch_status("training", {"phase": "Pending"}) | {"spec": {"image": "ignored"}}
    assert unchanged["metadata"]["generation"] == 2


def test_an_item_with_a_name_is_replaced_whole_by_another_applier(stored: Sandboxes, kubectl: Kubectl) -> None:
    """Merged field by field, it would have two sources that nobody wrote together."""
    data, mode = {"name": "data", "mountPath": "/mnt/data"}, {"name": "MODE"}
    reference = {"fieldRef": {"fieldPath": "metadata.name"}}
    applied = {
        "base": {"env": [mode | {"value": "a"}], "volumes": [data | {"emptyDir": {}}]},
        "overlay": {"env": [mode | {"valueFrom": reference}], "volumes": [data | {"host": {"path": "/data"}}]},
    }
    for manager, fields in applied.items():
        body = json.dumps(spec(image="busybox", **fields) | {"metadata": {"name": "trial"}})
        how = ("--server-side", "--force-conflicts", f"--field-manager={manager}", "--namespace", stored.namespace)
        kubectl("apply", *how, "-f", "-", stdin=body)

    found = stored.get("trial")["spec"]
    assert {field: found[field] for field in ("env", "volumes")} == applied["overlay"]


def test_labels_count_as_no_new_generation(training: Sandboxes) -> None:
    assert training.patch("training", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1


def test_kubectl_get_prints_the_columns_that_matter(kubectl: Kubectl, training: Sandboxes, namespace: str) -> None:
    head, row = kubectl("get", "sbx", "-n", namespace).splitlines()

    assert head.split() == ["NAME", "PHASE", "READY", "REASON", "NODE", "UNTIL", "AGE"]
    assert row.split()[:5] == ["training", "Running", "True", "ContainerReady", "node-1"]


def test_kubectl_get_wide_adds_how_often_where_and_a_sentence(
    kubectl: Kubectl, training: Sandboxes, namespace: str
) -> None:
    head, row = kubectl("get", "sandbox", "training", "-n", namespace, "-o", "wide").splitlines()

    assert head.split() == ["NAME", "PHASE", "READY", "REASON", "NODE", "UNTIL", "AGE", "RESTARTS", "POD-IP", "MESSAGE"]
    assert "10.0.0.7" in row and row.endswith("it is ContainerReady")


@pytest.mark.parametrize("word", ["sbx", "sandbox", "sandboxes", "sandboxes.sandmount.dev"])
def test_kubectl_finds_a_sandbox_by_each_of_its_names(
    kubectl: Kubectl, training: Sandboxes, namespace: str, word: str
) -> None:
    assert kubectl("get", word, "-n", namespace, "-o", "name") == "sandbox.sandmount.dev/training\n"


def test_kubectl_get_all_includes_sandboxes(kubectl: Kubectl, training: Sandboxes, namespace: str) -> None:
    assert "sandbox.sandmount.dev/training" in kubectl("get", "all", "-n", namespace, "-o", "name").split()


def test_kubectl_wait_works_on_conditions(kubectl: Kubectl, training: Sandboxes, namespace: str) -> None:
    kubectl("wait", "--for=condition=Ready", "sbx/training", "-n", namespace, "--timeout=5s")


def test_the_table_has_every_column_in_order(training: Sandboxes) -> None:
    columns = training.table()["columnDefinitions"]

    assert [(column["name"], column["priority"]) for column in columns] == [
        ("Name", 0), ("Phase", 0), ("Ready", 0), ("Reason", 0), ("Node", 0), ("Until", 0), ("Age", 0),
        ("Restarts", 1), ("Pod-IP", 1), ("Message", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("sandbox", "A Sandbox runs one image in one Pod"),
        ("sbx.spec", "image <string> -required-"),
        ("sandbox.spec.volumes.host.path", "The directory on the node, an absolute path of at most 1024 characters"),
        ("sandbox.spec.terminationGracePeriodSeconds", "0 to 300, default 10"),
        ("sandbox.status.observedGeneration", "-1 until the operator has seen the Sandbox"),
    ],
)
def test_kubectl_explain_says_what_a_field_means(kubectl: Kubectl, crd: None, field: str, says: str) -> None:
    assert says in " ".join(kubectl("explain", field).split())


def test_applying_the_crd_again_changes_nothing(kubectl: Kubectl, crd: None) -> None:
    look = ("get", "crd", "sandboxes.sandmount.dev", "-o", "json")
    before = json.loads(kubectl(*look))
    assert kubectl("diff", "--server-side", "-k", str(CRDS)) == ""

    kubectl("apply", "--server-side", "-k", str(CRDS))

    after = json.loads(kubectl(*look))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["labels"]["app.kubernetes.io/part-of"] == "sandmount"


def test_the_crd_is_structural_and_all_its_names_are_accepted(kubectl: Kubectl, crd: None) -> None:
    found = json.loads(kubectl("get", "crd", "sandboxes.sandmount.dev", "-o", "json"))

    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
