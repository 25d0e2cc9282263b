"""agent-sandbox (kubernetes-sigs) as a process beside the cluster, with the rights of its own ServiceAccount.

Built from the module that go.mod names, and run with the options of its released manifests but for leader election;
its CRD without the conversion webhook, as only the stored version is used here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.cluster import ClusterError
from tests.cluster.choose import cache_folder
from tests.cluster.local.build import build_program, find_go, go_environ
from tests.cluster.local.layout import Layout
from tests.support import Json, OperatorProcess, wait_until
from tests.support.kubectl import condition_of

MODULE = "sigs.k8s.io/agent-sandbox"
FOLDER = Path(__file__).parent
KINDS = {"ClusterRole", "ClusterRoleBinding", "Namespace", "Role", "RoleBinding", "ServiceAccount"}
"""What of its manifests is installed: not its Deployment, nor a Service to it."""


class AgentSandbox(OperatorProcess):
    """One controller."""

    namespace, account = "agent-sandbox-system", "agent-sandbox-controller"
    working = "Starting workers"

    def install_peer(self) -> None:
        """Build it unless that was done, and put its CRD and rights into the cluster."""
        program()
        folder = sources() / "k8s"
        crd = yaml.safe_load((folder / "crds" / "agents.x-k8s.io_sandboxes.yaml").read_text())
        del crd["spec"]["conversion"]
        objects: list[Json] = [crd]
        for name in ("controller.yaml", "rbac.generated.yaml"):
            objects += [o for o in yaml.safe_load_all((folder / name).read_text()) if o and o["kind"] in KINDS]
        self.kube.apply(objects)
        name = crd["metadata"]["name"]

        def is_served() -> bool:
            found = condition_of(self.kube.get("crd", name), "Established")
            return found is not None and found["status"] == "True"

        wait_until(f"{name} is served", is_served, 30)

    def command(self) -> Sequence[str]:
        """Ports on loopback only, and the certificate of the webhook that is not used in its own folder."""
        return (
            str(program()),
            "--leader-elect=false",
            "--metrics-bind-address=0",
            "--health-probe-bind-address=0",
            "--webhook-port=19443",
            f"--webhook-cert-dir={self.folder / 'certificates'}",
        )


def program() -> Path:
    """The controller, built from its sources unless it is there."""
    layout = Layout(cache_folder(os.environ))
    version = hashlib.sha256((FOLDER / "go.sum").read_bytes()).hexdigest()[:12]
    target = layout.bin / f"agent-sandbox-{version}" / "agent-sandbox-controller"
    if not target.exists():
        build_program(find_go(layout.tools), FOLDER, f"{MODULE}/cmd/agent-sandbox-controller", target)
    return target


def sources() -> Path:
    """The folder of its module. Raises ClusterError when it cannot be had."""
    go = find_go(Layout(cache_folder(os.environ)).tools)
    argv = [str(go), "list", "-m", "-f", "{{.Dir}}", MODULE]
    done = subprocess.run(argv, cwd=FOLDER, env=go_environ(), capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise ClusterError(f"The sources of {MODULE} cannot be found: {done.stderr.strip()}")
    return Path(done.stdout.strip())
