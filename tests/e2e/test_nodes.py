"""Nodes come and go: where a Sandbox with host volumes returns to, and what is said of a node that is lost.

On simulated nodes: no kubelet is needed for it, and a real one cannot be taken away.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.base import ON_SIMULATED_NODES
from tests.cluster.local.kwok import ANNOTATION
from tests.support import Json, Kube, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.kubectl import condition_of
from tests.verdicts import live

ROOT = "/srv/simulated/data"
LONG = 150.0
"""Seconds; the garbage collector of Pods looks every 20 s, and waits 40 s for a node to come back."""


@pytest.fixture(scope="module")
def nodes(cluster: Cluster) -> Iterator[tuple[str, ...]]:
    """Names of the simulated nodes."""
    with cluster.simulate_nodes(3) as names:
        yield names


@pytest.fixture
def anywhere(nodes: tuple[str, ...], kube: Kube) -> dict[str, Any]:
    """What the spec of a Sandbox has in it that may run on any of them; its root is allowed."""
    kube.set_allowlist(f"- {ROOT}\n")
    assert len(nodes) == 3
    return {**ON_SIMULATED_NODES, "terminationGracePeriodSeconds": 1}


def node_of(sandboxes: Sandboxes, name: str) -> str:
    """The node that it runs on."""
    found: str = sandboxes.wait_ready(name)["status"]["nodeName"]
    return found


def pause(sandboxes: Sandboxes, name: str, *volumes: Json, **spec: Any) -> None:
    """Pause it and wait until it rests."""
    sandboxes.apply(name, *volumes, **spec, paused=True)
    sandboxes.wait_reason(name, "Paused", kind="Paused")


@contextmanager
def unheard(cluster: Cluster) -> Iterator[None]:
    """Inside, nothing is heard of the simulated nodes; then they are back."""
    pid = cluster.status().pids["kwok"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_with_host_volumes_it_returns_to_its_node_from_pauses_and_losses(
    sandboxes: Sandboxes, kube: Kube, anywhere: dict[str, Any]
) -> None:
    sandboxes.apply("stays", host_volume(ROOT), **anywhere)
    home = node_of(sandboxes, "stays")
    for number in range(3):
        pause(sandboxes, "stays", host_volume(ROOT), **anywhere)
        sandboxes.apply("stays", host_volume(ROOT), **anywhere, env=[{"name": "N", "value": str(number)}])
        assert node_of(sandboxes, "stays") == home
    kube.delete("pod", "stays", sandboxes.namespace)
    assert node_of(sandboxes, "stays") == home


def test_without_host_volumes_it_is_kept_to_no_node(sandboxes: Sandboxes, kube: Kube, anywhere: dict[str, Any]) -> None:
    sandboxes.apply("free", **anywhere)
    node_of(sandboxes, "free")
    kube.delete("pod", "free", sandboxes.namespace)
    node_of(sandboxes, "free")
    assert "affinity" not in (sandboxes.pod("free") or {})["spec"]


def test_it_follows_its_root_when_the_list_says_that_another_node_has_it(
    sandboxes: Sandboxes, kube: Kube, anywhere: dict[str, Any], nodes: tuple[str, ...]
) -> None:
    one, other = nodes[:2]
    kube.run("label", "node", one, "disk=fast")
    kube.set_allowlist(json.dumps([{"path": ROOT, "nodes": {"disk": "fast"}}]))
    sandboxes.apply("follows", host_volume(ROOT), **anywhere)
    assert node_of(sandboxes, "follows") == one
    pause(sandboxes, "follows", host_volume(ROOT), **anywhere)
    kube.run("label", "node", one, "disk-")
    kube.run("label", "node", other, "disk=fast")
    try:
        sandboxes.apply("follows", host_volume(ROOT), **anywhere)
        assert node_of(sandboxes, "follows") == other
    finally:
        kube.run("label", "node", other, "disk-")


def test_it_waits_for_a_node_that_takes_no_pods_and_goes_elsewhere_when_that_is_gone(
    sandboxes: Sandboxes, kube: Kube, anywhere: dict[str, Any]
) -> None:
    sandboxes.apply("waits", host_volume(ROOT), **anywhere)
    home = node_of(sandboxes, "waits")
    kube.run("cordon", home)
    kube.delete("pod", "waits", sandboxes.namespace)
    found = sandboxes.wait_reason("waits", "Unschedulable")
    assert found["message"].endswith(f'; it waits for node "{home}", where its host directories are')
    kube.run("uncordon", home)
    assert node_of(sandboxes, "waits") == home
    kube.run("cordon", home)
    kube.delete("pod", "waits", sandboxes.namespace)
    sandboxes.wait_reason("waits", "Unschedulable")
    node = kube.get("node", home)
    kube.run("delete", "node", home)
    try:
        assert sandboxes.wait_ready("waits", seconds=LONG)["status"]["nodeName"] != home
    finally:
        register_again(kube, node)


def register_again(kube: Kube, node: Json) -> None:
    """The node is there as it was in the beginning."""
    metadata = {k: node["metadata"][k] for k in ("name", "labels")} | {"annotations": {ANNOTATION: "fake"}}
    taints = [t for t in node["spec"]["taints"] if not t["key"].startswith("node.kubernetes.io/")]
    kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}})


def test_a_pod_on_a_lost_node_is_never_forced_and_is_followed_when_it_is_gone(
    sandboxes: Sandboxes, kube: Kube, cluster: Cluster, anywhere: dict[str, Any]
) -> None:
    sandboxes.apply("lost", host_volume(ROOT), **anywhere)
    home = node_of(sandboxes, "lost")
    uid = (sandboxes.pod("lost") or {})["metadata"]["uid"]
    log = AuditLog.of(cluster)
    with unheard(cluster):
        said = sandboxes.wait_reason("lost", "NodeNotReady", seconds=LONG)
        words = f'node "{home}" is not ready: Kubelet stopped posting node status; the Pod may still run there'
        assert said["message"] == words
        kube.delete("pod", "lost", sandboxes.namespace, wait=False)  # as the taint manager does
        said = sandboxes.wait_reason("lost", "NodeLost", seconds=LONG)
        assert "no other is made as long as it may still run" in said["message"]
        live.check("node-lost", sandboxes.get("lost"))
        sandboxes.apply("lost", host_volume(ROOT), **anywhere, timeoutSeconds=3600)
        sandboxes.wait_reason("lost", "NodeLost")
        assert (sandboxes.pod("lost") or {})["metadata"]["uid"] == uid
        assert not [w for w in log.writes(sandboxes.namespace) if w.what == "pods"]
    after = sandboxes.wait_ready("lost", seconds=LONG)
    assert (after["status"]["nodeName"], after["status"]["restarts"]) == (home, 1)
    assert (sandboxes.pod("lost") or {})["metadata"]["uid"] != uid


def test_when_the_node_is_gone_for_good_its_sandboxes_run_elsewhere(
    sandboxes: Sandboxes, kube: Kube, anywhere: dict[str, Any]
) -> None:
    sandboxes.apply("moves", host_volume(ROOT), **anywhere)
    home = node_of(sandboxes, "moves")
    node = kube.get("node", home)
    kube.run("delete", "node", home)
    try:

        def elsewhere() -> bool:
            found = sandboxes.get("moves")
            ready = condition_of(found, "Ready") or {}
            return bool(ready.get("status") == "True" and found["status"]["nodeName"] != home)

        wait_until("it runs elsewhere", elsewhere, LONG)
    finally:
        register_again(kube, node)
