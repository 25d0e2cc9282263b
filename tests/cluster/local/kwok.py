"""Simulated nodes: kwok plays their kubelets, so that thousands of Pods are Ready that no machine runs.

While there are any, kwok is a component of the cluster like the others: its configuration file says that it is wanted.
The node with the real kubelet is never touched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tests.cluster.base import SIMULATED, wait_for
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import build
from tests.cluster.local.component import Component, flags
from tests.cluster.local.files import write_atomically
from tests.cluster.local.layout import NODE_NAME, Layout

ANNOTATION = "kwok.x-k8s.io/node"
POD_ADDRESSES = "198.18.0.1/15"  # set aside for benchmarks: whatever connects to such a Pod reaches nobody
STAGES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
)
AT_ONCE = 16
LEASE_SECONDS = 20  # a kwok that was started again waits so long for its predecessor's leases to end
ON_THEM = "fieldSelector=" + quote(f"spec.nodeName!=,spec.nodeName!={NODE_NAME}")
GONE_SECONDS = 120.0  # whatever the scheduler still puts there, the garbage collector of Pods takes within a minute
DELETE_SECONDS = 300.0


def is_wanted(layout: Layout) -> bool:
    """Whether there are simulated nodes, or were when their cluster was left."""
    return config(layout).exists()


def config(layout: Layout) -> Path:
    """kwok's configuration; it is there from before the first simulated node until after the last."""
    return layout.config / "kwok.yaml"


def stages(program: Path) -> Path:
    """What kwok is to do with nodes and Pods, and when; comes with its module, and is kept beside the program."""
    return program.with_name("stages.yaml")


def prepare(layout: Layout) -> None:
    """Build kwok unless it is there; the first time this takes a minute or two."""
    binary = build.binaries()["kwok"]
    program = binary.path(layout.bin)
    build.build_missing([binary], layout.bin, layout.tools)
    if not stages(program).exists():
        source = build.source_folder(binary, layout.tools) / "kustomize" / "stage"
        texts = [(source / f"{name}.yaml").read_text() for name in STAGES]
        write_atomically(stages(program), "\n---\n".join(texts))


def write_config(layout: Layout) -> None:
    """Write what kwok is to do; from now on it is a component of the cluster."""
    options = {
        "manageNodesWithAnnotationSelector": f"{ANNOTATION}=fake",
        "cidr": POD_ADDRESSES,
        "nodeLeaseDurationSeconds": LEASE_SECONDS,  # nodes without a lease are given up after 50 seconds
        "nodeLeaseParallelism": AT_ONCE,
        "nodePlayStageParallelism": AT_ONCE,
        "podPlayStageParallelism": AT_ONCE,
        "podsOnNodeSyncParallelism": AT_ONCE,
    }
    document = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}
    write_atomically(config(layout), yaml.safe_dump(document))


def component(layout: Layout, program: Path) -> Component:
    """kwok. It serves nothing; that it works is seen in the nodes."""
    options = {
        "kubeconfig": layout.kubeconfig,
        "config": f"{config(layout)},{stages(program)}",
        "v": "WARN",  # or a line for every change of a Pod
    }
    return Component(
        name="kwok",
        argv=flags(program, options),
        answers=lambda api: api.nodes_are_ready(SIMULATED),
        environ={"KWOK_WORKDIR": str(layout.config)},  # or it would read a file in the home directory, if there is one
    )


def node(name: str) -> dict[str, Any]:
    """A node that only takes Pods which ask for simulated nodes, and then any number."""
    usual = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {ANNOTATION: "fake"}, "labels": {**usual, SIMULATED: "true"}},
        "spec": {"taints": [{"key": SIMULATED, "value": "true", "effect": "NoSchedule"}]},
    }


def create_nodes(layout: Layout, kubectl: Kubectl, count: int) -> tuple[str, ...]:
    """Register the nodes, and return their names."""
    names = tuple(f"simulated-{number}" for number in range(count))
    manifest = layout.config / "simulated-nodes.json"
    write_atomically(manifest, json.dumps({"apiVersion": "v1", "kind": "List", "items": [node(n) for n in names]}))
    kubectl.run("create", "-f", str(manifest))
    return names


def remove_nodes(kubectl: Kubectl) -> None:
    """Remove all simulated nodes and the Pods on them, and wait until they are gone.

    Nobody plays their kubelets any more, so the Pods are removed without waiting for one.
    """
    kubectl.run("delete", "nodes", "-l", SIMULATED, "--wait=false")
    for namespace in kubectl.items("namespaces"):
        pods = f"/api/v1/namespaces/{namespace['metadata']['name']}/pods"
        kubectl.run("delete", "--raw", f"{pods}?{ON_THEM}&gracePeriodSeconds=0", seconds=DELETE_SECONDS)
    wait_for("Pods on simulated nodes to be gone", lambda: has_no_pods(kubectl), GONE_SECONDS)


def has_no_pods(kubectl: Kubectl) -> bool:
    """True when there is no Pod on another node than the real one."""
    return not json.loads(kubectl.run("get", "--raw", f"/api/v1/pods?{ON_THEM}&limit=1"))["items"]
