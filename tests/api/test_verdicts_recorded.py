"""What kstatus, Argo CD and Flux say of recorded Sandboxes, from their own code; no cluster runs for this.

A test with a live cluster records them anew when SANDMOUNT_RECORD is set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.api.sandboxes import Json
from tests.cluster import choose
from tests.cluster.local.cluster import LocalCluster
from tests.verdicts import verdicts
from tests.verdicts.table import TABLE
from tests.verdicts.verdicts import FLUX_KUSTOMIZATION, GO_MODULE, HEALTH_CHECK, REPOSITORY, NoVerdictError, Verdict

RECORDED = {path.stem: json.loads(path.read_text()) for path in (REPOSITORY / "tests/verdicts/recorded").glob("*.json")}
JUDGES = {"kstatus": verdicts.kstatus, "argocd": verdicts.argocd, "flux": verdicts.flux}
KEY = "resource.customizations.health.sandmount.dev_Sandbox"
NOT_LOOKED_AT = "the operator has not looked at this version of the Sandbox yet"

Kustomize = Callable[[Path], list[Json]]


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, Verdict]]:
    """What each tool says, by state."""
    return {name: dict(zip(RECORDED, judge(list(RECORDED.values())), strict=True)) for name, judge in JUDGES.items()}


@pytest.fixture(scope="module")
def kustomize() -> Kustomize:
    """Builds a kustomization, with the kubectl that belongs to the cluster of the tests."""
    cluster = choose()
    if isinstance(cluster, LocalCluster):
        cluster.prepare()

    def build(folder: Path) -> list[Json]:
        done = subprocess.run([cluster.kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    return build


def sandbox(status: object, **metadata: object) -> Json:
    """A Sandbox of generation 1 with this status, whatever that is."""
    return {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": "odd", "generation": 1, **metadata},
        "status": status,
    }


def observed(conditions: object) -> Json:
    """A Sandbox that the operator has looked at."""
    return sandbox({"observedGeneration": 1, "conditions": conditions})


def of(kind: str, status: str = "True", message: object = "words") -> Json:
    """A condition."""
    return {"type": kind, "status": status, "message": message}


def documented(part: str) -> str:
    """The one YAML of docs/gitops.md that has this in it."""
    text = (REPOSITORY / "docs" / "gitops.md").read_text()
    (found,) = [block for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if part in block]
    return str(found)


UNSEEN = Verdict("Progressing", NOT_LOOKED_AT)
NOTHING_SAID = Verdict("Progressing", "")

ODD: dict[str, tuple[Json, Verdict]] = {
    "neither metadata nor status": ({"apiVersion": "sandmount.dev/v1alpha1", "kind": "Sandbox"}, UNSEEN),
    "status is null": (sandbox(None), UNSEEN),
    "status is text": (sandbox("text"), UNSEEN),
    "status is a list": (sandbox([]), UNSEEN),
    "no observedGeneration": (sandbox({"conditions": [of("Ready")]}), UNSEEN),
    "observedGeneration is text": (sandbox({"observedGeneration": "1", "conditions": [of("Ready")]}), UNSEEN),
    "no generation": (sandbox({"observedGeneration": 1}, generation=None), UNSEEN),
    "conditions are null": (observed(None), NOTHING_SAID),
    "conditions are text": (observed("text"), NOTHING_SAID),
    "conditions are a map": (observed({"Ready": "True"}), NOTHING_SAID),
    "no conditions": (observed([]), NOTHING_SAID),
    "conditions that are none": (observed([None, "text", 1, [], {}, {"type": 1}, {"type": None}]), NOTHING_SAID),
    "null before a condition": (observed([None, of("Ready")]), Verdict("Healthy", "words")),
    "a condition without status": (observed([{"type": "Ready"}]), NOTHING_SAID),
    "unknown whether ready": (observed([of("Ready", "Unknown")]), Verdict("Progressing", "words")),
    "no message": (observed([of("Ready", message=None)]), Verdict("Healthy", "")),
    "a message that is a map": (observed([of("Stalled", message={"a": 1})]), Verdict("Degraded", "")),
    "unknown conditions and fields": (
        observed([of("Unheard", "False"), of("Ready") | {"more": [1]}]),
        Verdict("Healthy", "words"),
    ),
    "abnormal conditions that are False": (
        observed([of("Stalled", "False"), of("Reconciling", "False"), of("Ready")]),
        Verdict("Healthy", "words"),
    ),
}


def test_every_state_was_recorded_and_has_its_verdicts() -> None:
    assert set(RECORDED) == set(TABLE)


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("state", TABLE)
def test_each_tool_reads_each_state_right(said: dict[str, dict[str, Verdict]], state: str, judge: str) -> None:
    assert said[judge][state].status == getattr(TABLE[state], judge), said[judge][state].message


@pytest.mark.parametrize("state", [name for name, row in TABLE.items() if row.decided_by])
def test_argo_cd_shows_the_message_of_the_condition_that_decides(
    said: dict[str, dict[str, Verdict]], state: str
) -> None:
    messages = {c["type"]: c["message"] for c in RECORDED[state]["status"]["conditions"]}
    assert said["argocd"][state].message == messages[TABLE[state].decided_by or ""] != ""


def test_argo_cd_says_why_when_no_condition_decides(said: dict[str, dict[str, Verdict]]) -> None:
    found = {name: said["argocd"][name].message for name, row in TABLE.items() if row.decided_by is None}
    assert found == {"new": NOT_LOOKED_AT, "changed": NOT_LOOKED_AT, "deleting": "Pending deletion"}


@pytest.mark.parametrize("state", TABLE)
def test_every_condition_says_which_generation_it_is_about(state: str) -> None:
    status = RECORDED[state]["status"]
    conditions = status.get("conditions", [])
    assert {c["observedGeneration"] for c in conditions} <= {status["observedGeneration"]}
    abnormal = [c for c in conditions if c["type"] in ("Reconciling", "Stalled")]
    assert [c["status"] for c in abnormal] in ([], ["True"])


@pytest.mark.parametrize("judge", JUDGES)
def test_no_verdict_depends_on_the_order_of_the_conditions(said: dict[str, dict[str, Verdict]], judge: str) -> None:
    turned = deepcopy(RECORDED)
    for item in turned.values():
        item["status"].get("conditions", []).reverse()
    assert JUDGES[judge](list(turned.values())) == list(said[judge].values())


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_object_does_not_break_the_health_check_of_argo_cd(odd: str) -> None:
    item, expected = ODD[odd]
    assert verdicts.argocd([item]) == [expected]


def test_a_sandbox_that_is_an_argo_cd_hook_keeps_its_verdict_while_argo_cd_holds_it_back() -> None:
    hook = deepcopy(RECORDED["completed"])
    hook["metadata"] |= {
        "deletionTimestamp": "2026-01-01T12:00:00Z",
        "finalizers": ["argocd.argoproj.io/hook-finalizer"],
    }
    assert verdicts.argocd([hook])[0].status == "Healthy"


def test_only_the_default_of_observed_generation_keeps_a_new_sandbox_from_being_current() -> None:
    assert verdicts.kstatus([RECORDED["new"], sandbox({})])[0].status == "InProgress"
    assert verdicts.kstatus([sandbox({})])[0].status == "Current"


def test_flux_s_expressions_need_a_status_which_the_default_of_the_schema_gives() -> None:
    without = {key: value for key, value in RECORDED["new"].items() if key != "status"}
    with pytest.raises(NoVerdictError, match="status"):
        verdicts.flux([without])


def test_flux_sees_a_deletion_only_as_a_generation_that_nobody_has_looked_at() -> None:
    looked_at = deepcopy(RECORDED["deleting"])
    looked_at["status"]["observedGeneration"] = looked_at["metadata"]["generation"]
    assert verdicts.flux([RECORDED["deleting"], looked_at]) == [Verdict("InProgress", ""), Verdict("Current", "")]


def test_the_documented_changes_make_flux_s_expressions_stricter(tmp_path: Path) -> None:
    kustomization = yaml.safe_load(FLUX_KUSTOMIZATION.read_text())
    (check,) = kustomization["spec"]["healthCheckExprs"]
    check |= yaml.safe_load(documented("failed: >-"))
    check["current"] = check["current"].replace("'Paused', ", "")
    (changed := tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    states = ("ready", "revoked-warn", "paused", "denied")
    found = verdicts.flux([RECORDED[state] for state in states], changed)
    assert [verdict.status for verdict in found] == ["Current", "Failed", "InProgress", "Failed"]


@pytest.mark.parametrize("own", [{}, {"namespace": "argocd"}], ids=["", "with a namespace"])
@pytest.mark.parametrize("namespace", ["", "argocd"])
def test_the_documented_component_adds_the_health_check_to_the_argocd_cm_of_a_kustomization(
    kustomize: Kustomize, tmp_path: Path, own: Json, namespace: str
) -> None:
    metadata = {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}, **own}
    ours = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"url": "kept"}}
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(ours))
    kustomization(tmp_path, {"resources": ["argocd-cm.yaml"], **({"namespace": namespace} if namespace else {})})
    [built] = kustomize(tmp_path)  # and nothing else
    where = {"namespace": "argocd"} if namespace or own else {}
    assert built["metadata"] == metadata | where
    assert built["data"] == {"url": "kept", KEY: HEALTH_CHECK.read_text()}


def test_a_kustomization_without_an_argocd_cm_is_told_so(kustomize: Kustomize, tmp_path: Path) -> None:
    kustomization(tmp_path, {})
    with pytest.raises(AssertionError, match=r"nothing selected by ConfigMap.*argocd-cm"):
        kustomize(tmp_path)


def kustomization(folder: Path, content: Json) -> None:
    """An admin's, with the component as the document adds it."""
    component = os.path.relpath(HEALTH_CHECK.parent, folder.resolve())
    added = documented("components: [manifests/argocd]").replace("manifests/argocd", component)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content) if content else "")
    with (folder / "kustomization.yaml").open("a") as file:
        file.write(added)


def test_no_file_of_the_go_module_names_where_modules_come_from() -> None:
    for path in GO_MODULE.iterdir():
        assert "://" not in path.read_text(), path
