"""A cluster made by kind, where a Docker engine is there: the way most people will run it.

Only the kind cluster named below is touched. The node mounts the host directories under their own paths.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.audit import AUDIT_MEGABYTES, AUDIT_POLICY
from tests.cluster.base import ClusterError, ComponentStatus, Status, make_host_dirs, only_local, say
from tests.cluster.image import BUSYBOX_IMAGE
from tests.cluster.kubectl import Kubectl, find_kubectl, reset_cluster

CLUSTER = "sandmount-tests"
NODE = f"{CLUSTER}-control-plane"
CREATE_SECONDS = 900
AUDIT_ON_NODE = Path("/var/log/sandmount-audit")
POLICY_ON_NODE = Path("/etc/kubernetes/sandmount")

Runner = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]


def run(argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command; a missing program and a timeout are exit codes too."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {seconds:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))


def audit_patch(version: str) -> str:
    """The kubeadm patch that turns the audit log on. `v1beta4` has lists where `v1beta3` has mappings."""
    arguments = {
        "audit-policy-file": str(POLICY_ON_NODE / "audit-policy.yaml"),
        "audit-log-path": str(AUDIT_ON_NODE / "audit.log"),
        "audit-log-mode": "blocking",
        "audit-log-maxsize": str(AUDIT_MEGABYTES),
    }
    as_list = [{"name": name, "value": value} for name, value in arguments.items()]
    volumes = [
        {
            "name": name,
            "hostPath": str(path),
            "mountPath": str(path),
            "readOnly": read_only,
            "pathType": "DirectoryOrCreate",
        }
        for name, path, read_only in (("audit-policy", POLICY_ON_NODE, True), ("audit-log", AUDIT_ON_NODE, False))
    ]
    patch = {
        "apiVersion": f"kubeadm.k8s.io/{version}",
        "kind": "ClusterConfiguration",
        "apiServer": {"extraArgs": as_list if version == "v1beta4" else arguments, "extraVolumes": volumes},
    }
    return yaml.safe_dump(patch, sort_keys=False)


def kind_config(folder: Path, host_dirs: Iterable[Path]) -> dict[str, Any]:
    """kind's configuration: one node, the host directories under the same paths, the audit log on this machine.

    kind applies a patch only when its version is the one in use, so a patch for each covers old and new node images.
    """
    own = [(folder / "policy", POLICY_ON_NODE), (folder / "audit", AUDIT_ON_NODE)]
    mounts = [{"hostPath": str(host), "containerPath": str(inside)} for host, inside in own]
    mounts += [{"hostPath": str(path), "containerPath": str(path)} for path in sorted(set(host_dirs))]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": CLUSTER,
        "nodes": [
            {
                "role": "control-plane",
                "extraMounts": mounts,
                "kubeadmConfigPatches": [audit_patch("v1beta3"), audit_patch("v1beta4")],
            }
        ],
    }


class KindCluster:
    """A one-node kind cluster of its own name."""

    name = "kind"

    def __init__(self, folder: Path, node_image: str | None = None, runner: Runner = run) -> None:
        self.folder = folder
        self.node_image = node_image
        self._runner = runner

    @property
    def kubeconfig(self) -> Path:
        """Written by kind; the user's own kubeconfig is not touched."""
        return self.folder / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        """The kubectl on PATH."""
        return find_kubectl()

    @property
    def audit_log(self) -> Path | None:
        """Reaches this machine through a mount of the node, which writes it as root: not everybody can read it."""
        log = self.folder / "audit" / "audit.log"
        return log if os.access(log, os.R_OK) else None

    def up(self, host_dirs: Sequence[Path] = ()) -> None:
        """Create the cluster unless it is there; then check that it mounts the wanted directories."""
        make_host_dirs(host_dirs)
        if not self._exists():
            self._create(host_dirs)
            return
        self._check_mounts(host_dirs)
        if not self._node_runs():
            self._run("docker", "start", NODE, seconds=60)
        self._run("kind", "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig))
        self._run_kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=120s")

    def down(self) -> None:
        """Delete the kind cluster and what was written for it."""
        self._run("kind", "delete", "cluster", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig), seconds=180)
        for file in (self.kubeconfig, self.folder / "kind.yaml", self.folder / "policy" / "audit-policy.yaml"):
            file.unlink(missing_ok=True)
        for log in (self.folder / "audit").glob("audit*.log"):
            log.unlink(missing_ok=True)
        say("The kind cluster is deleted.")

    def status(self) -> Status:
        """Whether the node's container runs and the API server answers."""
        if not self._exists():
            return Status(self.name, ())
        answers = self._kubectl().api_answers()
        return Status(
            self.name,
            (
                ComponentStatus("node", self._node_runs(), detail=NODE),
                ComponentStatus("kube-apiserver", answers, detail=str(self.kubeconfig)),
            ),
        )

    def load_image(self, archive: Path) -> None:
        """Bring an archive to the node."""
        self._run("kind", "load", "image-archive", str(archive), "--name", CLUSTER, seconds=600)

    def reset(self) -> None:
        """Delete what tests and Sandmount left."""
        reset_cluster(self._kubectl(), is_ours=True)

    def compact_etcd(self) -> int:
        """Refuse."""
        raise only_local(self.name, "Compacting etcd")

    def restart(self, component: str) -> None:
        """Refuse."""
        raise only_local(self.name, f"Restarting {component}")

    def simulate_nodes(self, count: int) -> AbstractContextManager[tuple[str, ...]]:
        """Refuse."""
        raise only_local(self.name, f"Simulating {count} nodes")

    def _create(self, host_dirs: Sequence[Path]) -> None:
        for name in ("policy", "audit"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "policy" / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        config = self.folder / "kind.yaml"
        config.write_text(yaml.safe_dump(kind_config(self.folder, host_dirs), sort_keys=False))
        argv = ["kind", "create", "cluster", "--name", CLUSTER, "--config", str(config)]
        argv += ["--kubeconfig", str(self.kubeconfig), "--wait", "180s"]
        argv += ["--image", self.node_image] if self.node_image else []
        say("Creating a kind cluster; the first time takes some minutes, because the node's image is downloaded.")
        self._run(*argv, seconds=CREATE_SECONDS)
        # So that tests do not depend on a registry while they run; where it cannot be pulled now, they will say so.
        if not self._runner(["docker", "pull", "--quiet", BUSYBOX_IMAGE], CREATE_SECONDS).returncode:
            self._run("kind", "load", "docker-image", BUSYBOX_IMAGE, "--name", CLUSTER, seconds=600)

    def _check_mounts(self, host_dirs: Sequence[Path]) -> None:
        text = self._run("docker", "inspect", "--format", "{{json .Mounts}}", NODE)
        mounted = {mount["Destination"] for mount in json.loads(text)}  # Docker Desktop writes sources its own way
        missing = [str(path) for path in host_dirs if not is_within(path, mounted)]
        if missing:
            raise ClusterError(
                f"The running kind cluster does not mount {', '.join(missing)}, and a mount cannot be added later. "
                "Run `make cluster-down` first."
            )

    def _exists(self) -> bool:
        return CLUSTER in self._run("kind", "get", "clusters").split()

    def _node_runs(self) -> bool:
        done = self._runner(["docker", "inspect", "--format", "{{.State.Running}}", NODE], 30)
        return done.returncode == 0 and done.stdout.strip() == "true"

    def _kubectl(self) -> Kubectl:
        return Kubectl(self.kubectl, self.kubeconfig)

    def _run_kubectl(self, *args: str) -> None:
        self._run(str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *args, seconds=180)

    def _run(self, *argv: str, seconds: float = 60) -> str:
        done = self._runner(argv, seconds)
        if done.returncode:
            raise ClusterError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def is_within(path: Path, mounted: Iterable[str]) -> bool:
    """True when the path, or a folder above it, is mounted under its own name."""
    return any(path == Path(root) or path.is_relative_to(root) for root in mounted)
