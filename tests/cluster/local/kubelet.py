"""The kubelet: its configuration, as data. One node, which nothing is evicted from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.local.component import Component, flags
from tests.cluster.local.files import write_atomically
from tests.cluster.local.layout import NODE_NAME, Layout
from tests.cluster.local.state import State

# A test machine's disk may be as full as it likes; 0% turns a signal off. Memory is kept, at very little.
EVICTION = {
    "memory.available": "20Mi",
    "nodefs.available": "0%",
    "nodefs.inodesFree": "0%",
    "imagefs.available": "0%",
    "imagefs.inodesFree": "0%",
}


def settings(layout: Layout, state: State) -> dict[str, Any]:
    """The KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": state.node_address,
        "port": state.ports["kubelet"],
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": state.ports["kubelet-health"],
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["none"],
        "evictionHard": EVICTION,
        "imageGCHighThresholdPercent": 100,  # off: deleted images could not be pulled again
        "imageGCLowThresholdPercent": 99,
        "maxPods": 250,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 100,
        "eventBurst": 200,
        "podLogsDir": str(layout.run / "pods"),
        "volumePluginDir": str(layout.run / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,  # lowering it needs a capability that CI machines may not have
        # Nothing answers there. It is set because a Pod without it gets a Warning event of its own.
        "clusterDNS": [state.node_address],
        "clusterDomain": "cluster.local",
    }


def write_configs(layout: Layout, state: State) -> None:
    """Write it, and make the folder for what lies on the node."""
    (layout.run / "pods").mkdir(exist_ok=True, mode=0o755)
    write_atomically(layout.config / "kubelet.yaml", yaml.safe_dump(settings(layout, state)))


def component(layout: Layout, state: State, programs: Mapping[str, Path]) -> Component:
    """The kubelet."""
    options = {
        "config": layout.config / "kubelet.yaml",
        "kubeconfig": layout.config / "kubelet.kubeconfig",
        "root-dir": layout.kubelet_root,
        "cert-dir": layout.run / "kubelet-pki",
        "hostname-override": NODE_NAME,
        "node-ip": state.node_address,
    }
    return Component(
        name="kubelet",
        argv=flags(programs["kubelet"], options),
        answers=lambda api: api.is_ok(state.node_address, state.ports["kubelet"], "/healthz"),
        ports=((state.node_address, state.ports["kubelet"]), ("127.0.0.1", state.ports["kubelet-health"])),
    )
