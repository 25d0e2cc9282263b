"""Simulated nodes: what kwok is told, and that only what belongs to them is removed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import ClusterError
from tests.cluster.base import ON_SIMULATED_NODES, SIMULATED
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import kwok
from tests.cluster.local.api import Client
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.layout import NODE_NAME, Layout
from tests.cluster.local.state import State

PROGRAM = Path("/bin/kwok-v1/kwok")


class Nodes(Client):
    """An API server that has these nodes."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        super().__init__(Path("/pki"), State("b", 213, {}))
        self.nodes = list(nodes)

    def kube(self, path: str) -> Any:
        assert path == f"/api/v1/nodes?labelSelector={SIMULATED}"
        return {"items": self.nodes}


class Recorder(Kubectl):
    """A cluster with Pods on simulated nodes in some namespaces, that notes down what it was asked to delete."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__(Path("/kubectl"), Path("/kubeconfig"))
        self.with_pods = set(namespaces)
        self.deleted: list[str] = []

    def try_run(self, *args: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        if args[0] == "delete":
            self.deleted.append(" ".join(args[1:]))
            self.with_pods = {name for name in self.with_pods if f"/{name}/" not in args[-1]}
            return subprocess.CompletedProcess(args, 0, "", "")
        names = ["default", "one", "two"] if "namespaces" in args else sorted(self.with_pods)
        return subprocess.CompletedProcess(args, 0, json.dumps({"items": [{"metadata": {"name": n}} for n in names]}))


def ready(name: str, *taints: str, status: str = "True") -> dict[str, Any]:
    """A simulated node that kwok has seen, with further taints."""
    made = kwok.node(name)
    made["spec"]["taints"] += [{"key": taint, "effect": "NoSchedule"} for taint in taints]
    return {**made, "status": {"conditions": [{"type": "Ready", "status": status}]}}


def test_a_node_is_kwok_s_and_repels_what_does_not_ask_for_it() -> None:
    assert kwok.node("simulated-0") == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "simulated-0",
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": "simulated-0",
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "sandmount.test/simulated": "true",
            },
        },
        "spec": {"taints": [{"key": "sandmount.test/simulated", "value": "true", "effect": "NoSchedule"}]},
    }


def test_a_pod_can_ask_for_simulated_nodes() -> None:
    labels = kwok.node("n")["metadata"]["labels"]
    assert ON_SIMULATED_NODES["nodeSelector"].items() <= labels.items()
    assert [t["key"] for t in ON_SIMULATED_NODES["tolerations"]] == [t["key"] for t in kwok.node("n")["spec"]["taints"]]


def test_kwok_is_part_of_the_cluster_from_its_configuration_on(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.config.mkdir(parents=True)
    assert not kwok.is_wanted(layout)
    kwok.write_config(layout)
    assert kwok.is_wanted(layout)
    options = kwok.component(layout, PROGRAM).argv[1:]
    assert f"--config={kwok.config(layout)},/bin/kwok-v1/stages.yaml" in options


def test_kwok_leaves_nodes_of_others_alone_and_keeps_its_own_alive(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.config.mkdir(parents=True)
    kwok.write_config(layout)
    options = yaml.safe_load(kwok.config(layout).read_text())["options"]
    assert options["manageNodesWithAnnotationSelector"] == "kwok.x-k8s.io/node=fake"
    assert not options.get("manageAllNodes")
    assert 0 < options["nodeLeaseDurationSeconds"] < 50  # the controller manager's patience with a node
    assert "serverAddress" not in options


def test_kwok_works_when_all_its_nodes_take_pods() -> None:
    answers = kwok.component(Layout(Path("/c")), PROGRAM).answers
    assert answers(Nodes(ready("a"), ready("b")))


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [kwok.node("new")],
        [ready("a"), ready("b", status="Unknown")],
        [ready("a", "node.kubernetes.io/not-ready")],
    ],
)
def test_kwok_does_not_work_yet(nodes: list[dict[str, Any]]) -> None:
    assert not kwok.component(Layout(Path("/c")), PROGRAM).answers(Nodes(*nodes))


def test_removal_takes_the_pods_of_all_namespaces_and_spares_the_real_node() -> None:
    kubectl = Recorder("one", "two")
    kwok.remove_nodes(kubectl)
    assert kubectl.with_pods == set()
    selector = f"fieldSelector=spec.nodeName%21%3D%2Cspec.nodeName%21%3D{NODE_NAME}&gracePeriodSeconds=0"
    assert kubectl.deleted == [
        f"nodes -l {SIMULATED} --wait=false",
        *(f"--raw /api/v1/namespaces/{name}/pods?{selector}" for name in ("default", "one", "two")),
    ]


def test_without_a_cluster_nothing_is_built_or_started(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="not up"), LocalCluster(tmp_path).simulate_nodes(1):
        raise AssertionError
    assert not any(tmp_path.iterdir())
