"""What KEEP=1 does: hands the operator to a process of its own, and says how to go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hostdir import HostDirectory
from report import DemoError, Report
from scenarios import NAMESPACE

from tests.cluster import Cluster
from tests.support.kubectl import Kube, tail, wait_until

KEEPER = Path(__file__).resolve().with_name("keeper.py")
WORKS = "the operator works; its log:"
"""The keeper's first line; the path of the operator's log follows."""


def hand_over(report: Report, cluster: Cluster, kube: Kube, host: HostDirectory) -> None:
    """Start the keeper, wait until its operator works, and print what to do next."""
    report.now("KEEP=1: keeping the cluster, the operator and the Sandboxes")
    folder = Path(tempfile.mkdtemp(prefix="sandmount-demo-keeper-"))
    log = folder / "keeper.log"
    remove = [folder, host.outside, *([host.link] if host.link else []), *([host.path] if host.temporary else [])]
    uid = kube.get("namespace", NAMESPACE)["metadata"]["uid"]
    with log.open("wb") as out:
        keeper = subprocess.Popen(
            [sys.executable, str(KEEPER), "--namespace", NAMESPACE, "--uid", uid, *(f"--remove={f}" for f in remove)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def first_line() -> str | None:
        if keeper.poll() is not None:
            raise DemoError("The operator could not be kept:\n" + "\n".join(tail(log)))
        return next((line for line in tail(log) if line.startswith(WORKS)), None)

    try:
        line = wait_until("the kept operator works", first_line, 90)
    except BaseException:
        keeper.terminate()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _say_how_to_go_on(report, cluster, host, line.removeprefix(WORKS).strip(), keeper.pid)


def _say_how_to_go_on(report: Report, cluster: Cluster, host: HostDirectory, log: str, pid: int) -> None:
    report.fact("Operator", f"log {log}, kept by process {pid}")
    report.fact("Directory", host.path)
    if not host.temporary:
        report.fact("Made there", ", ".join(host.made) + "; these stay")
    print("\nGo on with:\n", flush=True)
    for command in (
        f"export KUBECONFIG={cluster.kubeconfig}",
        f"export PATH={cluster.kubectl.parent}:$PATH    # kubectl",
        f"kubectl get sbx -n {NAMESPACE} -o wide",
        f"kubectl describe sbx -n {NAMESPACE} not-allowed",
        f"kubectl exec -n {NAMESPACE} read-write -- ls -l /mnt/shared",
    ):
        print(f"  {command}", flush=True)
    print("\nTo end it: either of these also ends the operator and removes the demo's temporary files\n", flush=True)
    if cluster.name != "given":
        print("  make cluster-down                         # the whole cluster", flush=True)
    print(f"  kubectl delete namespace {NAMESPACE}   # only the demo", flush=True)
