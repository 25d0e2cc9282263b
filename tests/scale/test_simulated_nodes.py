"""Simulated nodes beside the real one: Pods are Ready there, kwok is mended like a component, and all of it goes."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.cluster.base import ON_SIMULATED_NODES
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.layout import NODE_NAME
from tests.support import Json, Kube, wait_until

pytestmark = pytest.mark.alone

SECONDS = 60.0
COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet"}


@pytest.fixture
def kube(spare: LocalCluster) -> Kube:
    """kubectl for the spare cluster."""
    return Kube.of(spare)


def pod(name: str, **spec: Any) -> Json:
    """A Pod that waits, or is said to."""
    container = {
        "name": "main",
        "image": "busybox:stable",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "9"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], **spec},
    }


def wait_ready(kube: Kube, name: str) -> Json:
    """Wait until the Pod is Ready, and return it."""

    def ask() -> Json | None:
        found = kube.get("pod", name, "default")
        conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", ())}
        return found if conditions.get("Ready") == "True" else None

    return wait_until(f"Pod {name} is Ready", ask, SECONDS)


def nodes(kube: Kube) -> set[str]:
    """Names of all nodes."""
    return {node["metadata"]["name"] for node in kube.items("nodes")}


def test_a_pod_goes_to_a_simulated_node_only_if_it_asks_for_one(spare: LocalCluster, kube: Kube) -> None:
    with spare.simulate_nodes(3) as names:
        assert nodes(kube) == {NODE_NAME, *names}
        kube.apply([pod("simulated", **ON_SIMULATED_NODES), pod("real")])
        assert wait_ready(kube, "simulated")["spec"]["nodeName"] in names
        assert wait_ready(kube, "real")["spec"]["nodeName"] == NODE_NAME
        kube.delete("pod", "simulated", "default")
        kube.delete("pod", "real", "default")


def test_at_the_end_the_nodes_go_with_their_pods_and_the_real_node_keeps_its_own(
    spare: LocalCluster, kube: Kube
) -> None:
    with spare.simulate_nodes(2):
        kube.apply([pod("left", **ON_SIMULATED_NODES, terminationGracePeriodSeconds=300), pod("stays")])
        wait_ready(kube, "left")
        wait_ready(kube, "stays")
        assert "kwok" in spare.status().pids
    assert nodes(kube) == {NODE_NAME}
    assert [item["metadata"]["name"] for item in kube.items("pods", "-A")] == ["stays"]
    assert spare.status().is_up
    assert set(spare.status().pids) == COMPONENTS
    kube.delete("pod", "stays", "default")


def test_up_mends_kwok(spare: LocalCluster, kube: Kube) -> None:
    with spare.simulate_nodes(2):
        pids = spare.status().pids
        os.kill(pids["kwok"], signal.SIGKILL)
        wait_until("kwok is missed", lambda: not spare.status().is_up, SECONDS)
        spare.up()
        mended = spare.status().pids
        assert {name for name in pids if mended[name] != pids[name]} == {"kwok"}
        kube.apply(pod("after", **ON_SIMULATED_NODES))
        wait_ready(kube, "after")


@pytest.mark.parametrize("way", ["reset", "another simulation"])
def test_what_a_killed_test_left_goes_first(spare: LocalCluster, kube: Kube, way: str) -> None:
    left = spare.simulate_nodes(3)
    left.__enter__()
    kube.apply(pod("left", **ON_SIMULATED_NODES))
    wait_ready(kube, "left")
    os.kill(spare.status().pids["kwok"], signal.SIGKILL)
    if way == "reset":
        spare.reset()
        assert nodes(kube) == {NODE_NAME}
    else:
        with spare.simulate_nodes(1) as names:
            assert nodes(kube) == {NODE_NAME, *names}
    assert kube.items("pods", "-A") == []
    left.__exit__(None, None, None)
