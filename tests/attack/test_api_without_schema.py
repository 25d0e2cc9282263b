"""A CRD that lost its rules: the operator is a second line, and makes no Pod of what the schema would have refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.attack.api_bad_specs import INVALID, bad_specs
from tests.attack.api_support import WRITE, host_mounts, patch, script, uid_of, wait_until_gone, wait_until_written
from tests.attack.canary import Canary, differences, facts
from tests.cluster import ClusterError
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, wait_until
from tests.support.fixtures import IMAGE, Sandboxes, host_volume
from tests.support.kubectl import condition_of
from tests.verdicts import live

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback", "no_schema")

ANYTHING: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
LONG_NAME = "n" * 64


@pytest.fixture
def no_schema(kube: Kube, namespace: str) -> Iterator[None]:
    """The CRD accepts everything; afterwards it is as it was."""
    found = kube.get("crd", SANDBOXES)
    lax = copy.deepcopy(found)
    for version in lax["spec"]["versions"]:
        version["schema"] = {"openAPIV3Schema": ANYTHING}
    try:
        _replace(kube, namespace, lax, takes=True)
        yield
    finally:
        kube.run("delete", "--raw", f"/apis/sandmount.dev/v1alpha1/namespaces/{namespace}/sandboxes")
        _replace(kube, namespace, found, takes=False)
    assert kube.get("crd", SANDBOXES)["spec"] == found["spec"]


def _replace(kube: Kube, namespace: str, crd: Json, *, takes: bool) -> None:
    """Put the CRD in place, and return when the API server takes a spec that is no spec, or does so no longer."""
    metadata = {k: crd["metadata"][k] for k in ("name", "labels", "annotations") if k in crd["metadata"]}
    kube.feed(
        json.dumps({k: crd[k] for k in ("apiVersion", "kind", "spec")} | {"metadata": metadata}), "replace", "-f", "-"
    )
    probe = {"apiVersion": "sandmount.dev/v1alpha1", "kind": "Sandbox", "metadata": {"name": "probe"}, "spec": 5}

    def is_so() -> bool:
        how = ("create", "--dry-run=server", "--validate=false", "-n", namespace, "-f", "-")
        try:
            kube.feed(json.dumps(probe), *how)
        except ClusterError:
            return not takes
        return takes

    wait_until("the API server has the new schema", is_so, 60)


def test_no_pod_is_made_of_a_spec_that_the_schema_would_have_refused(
    sandboxes: Sandboxes, shared: Path, canary: Canary
) -> None:
    untouched = facts(canary.path)
    cases = {name: (spec, reason) for name, spec, reason in bad_specs(str(shared))}
    cases[LONG_NAME] = ({"image": IMAGE}, INVALID)
    objects = [sandboxes.manifest(name) | {"spec": spec} for name, (spec, _) in cases.items()]
    create(sandboxes.kube, [*objects, sandboxes.manifest("fine", host_volume(shared), entrypoint=script(WRITE))])
    found: dict[str, str] = {}

    def decided() -> bool:
        for sandbox in sandboxes.kube.items(SANDBOXES, "-n", sandboxes.namespace):
            stalled = condition_of(sandbox, "Stalled")
            if stalled:
                found[sandbox["metadata"]["name"]] = stalled["reason"]
        return found.keys() >= cases.keys()

    wait_until("all are decided on", decided, 120, lambda: f"not decided: {sorted(cases.keys() - found.keys())}")
    assert found == {name: reason for name, (_, reason) in cases.items()}
    wait_until_written(shared / "fine")
    assert [p["metadata"]["name"] for p in sandboxes.kube.items("pods", "-n", sandboxes.namespace)] == ["fine"]
    assert differences(untouched, facts(canary.path)) == []


def test_a_running_sandbox_whose_spec_becomes_unreadable_gets_nothing_new_and_is_still_revoked(
    sandboxes: Sandboxes, shared: Path, canary: Canary
) -> None:
    create(sandboxes.kube, [sandboxes.manifest("runs", host_volume(shared), entrypoint=script(WRITE))])
    sandboxes.wait_ready("runs")
    uid = uid_of(sandboxes.pod("runs"))
    worse = [host_volume(canary.path, "/") | {"hostPath": {"path": "/"}}]
    patch(sandboxes.kube, SANDBOXES, "runs", sandboxes.namespace, {"spec": {"volumes": worse, "privileged": True}})
    sandboxes.wait_reason("runs", INVALID)
    live.check("invalid-spec", sandboxes.get("runs"))
    pod = sandboxes.pod("runs")
    assert pod is not None and uid_of(pod) == uid
    assert host_mounts(pod) == {(str(shared), "", False)}
    sandboxes.kube.set_allowlist("none")
    wait_until_gone(sandboxes, "runs", uid)


STATUS: tuple[Any, ...] = (
    "text", [], {"conditions": "text"}, {"conditions": [{}]}, {"conditions": [5]}, {"conditions": {"type": "Ready"}},
    {"conditions": [{"type": "Finished", "status": "True"}]}, {"conditions": [{"type": ["Ready"], "status": "True"}]},
    {"conditions": [{"type": "Ready", "status": "False"}]}, {"volumes": 5}, {"podName": {}},
    {"observedGeneration": "x"}, {"phase": []},
)  # fmt: skip


def test_a_status_of_any_shape_is_mended_and_keeps_nothing_running(sandboxes: Sandboxes, shared: Path) -> None:
    names = [f"status-{number}" for number in range(len(STATUS))]
    create(sandboxes.kube, [sandboxes.manifest(n, host_volume(shared), entrypoint=script(WRITE)) for n in names])
    for name in names:
        sandboxes.wait_ready(name)
    truth = {name: timeless(sandboxes.get(name)) for name in names}

    def is_as_before(name: str) -> bool:
        return timeless(sandboxes.get(name)) == truth[name]

    for name, status in zip(names, STATUS, strict=True):
        patch(sandboxes.kube, SANDBOXES, name, sandboxes.namespace, {"status": status}, "--subresource=status")
    for name in names:
        wait_until(f"{name} is mended", partial(is_as_before, name), 60)
    sandboxes.kube.set_allowlist("none")
    wait_until("no Pod is left", lambda: not sandboxes.kube.items("pods", "-n", sandboxes.namespace), 60)


def timeless(sandbox: Json) -> str:
    """The status of a Sandbox without its times."""
    return re.sub(r'"\d{4}-\d\d-\d\dT[^"]*"', '"time"', json.dumps(sandbox["status"], sort_keys=True))


def create(kube: Kube, objects: list[Json]) -> None:
    """Make objects as they are, without a look at any schema."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kube.feed(text, "create", "--validate=false", "-f", "-")
