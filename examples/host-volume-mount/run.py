"""Shows host directories in Sandboxes on a real Kubernetes: five scenarios, every step checked.

    .venv/bin/python examples/host-volume-mount/run.py

HOST_VOLUME_PATH names the host directory (else a temporary one); KEEP=1 leaves all of it running. See README.md.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import hostdir
import keep
import yaml
from hostdir import HostDirectory
from report import DemoError, Report
from scenarios import NAMESPACE, Scenes

from tests.cluster import Cluster, ClusterError, choose
from tests.cluster.base import TESTS_LABEL
from tests.cluster.kubectl import SANDBOXES
from tests.support import Kube, OperatorProcess, look, put_back, wait_until

FAILED = 1
INTERRUPTED = 130
GONE_SECONDS = 60.0


def main() -> int:
    """Run the demo. Returns the exit code: 0, or 1 with the reason printed, or 130 after Ctrl-C."""
    report = Report()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    wants_keep = os.environ.get("KEEP", "").lower() not in ("", "0", "no", "false")
    try:
        with ExitStack() as stack:
            code = _run(report, stack, wants_keep=wants_keep)
    except (DemoError, ClusterError, OSError) as error:
        report.failed(error)
        return FAILED
    if code == 0:
        if not wants_keep:
            report.say("To keep all of it running and go on with kubectl: KEEP=1 make demo")
        print("\nAll scenarios completed successfully!", flush=True)
    return code


def _run(report: Report, stack: ExitStack, *, wants_keep: bool) -> int:
    """Everything that the stack then takes back, unless it is to be kept. Returns the exit code."""
    demo = Demo(report, stack)
    code = 0
    try:
        demo.prepare()
        demo.scenes().all()
    except (DemoError, ClusterError, OSError) as error:
        report.failed(error)
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on nothing takes long, and all of it has to be done
    print(flush=True)
    if wants_keep and demo.is_working and code != INTERRUPTED:
        demo.keep()
    elif demo.has_begun:
        report.now("Interrupted; removing what was made." if code == INTERRUPTED else "Removing what was made.")
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Demo:
    """What the demo makes, in order; each part puts on the stack how it is removed."""

    def __init__(self, report: Report, stack: ExitStack) -> None:
        self.report = report
        self.stack = stack
        self.has_begun = False
        self.has_own_cluster = False
        self.is_working = False
        self.cluster: Cluster
        self.host: HostDirectory
        self.kube: Kube
        self.operator: OperatorProcess

    def prepare(self) -> None:
        """Cluster, host directory, operator, allowlist and namespace."""
        self.cluster = choose()
        self._make_host_directory()
        self._start_cluster()
        self.kube = Kube.of(self.cluster)
        self._refuse_cluster_in_use()
        self._start_operator()
        self._make_namespace()
        self.is_working = True

    def scenes(self) -> Scenes:
        """The scenarios, on what was prepared."""
        return Scenes(self.kube, self.host, self.report, self.operator.log)

    def keep(self) -> None:
        """Leave all of it running, with the operator in the care of another process."""
        self.operator.close()
        keep.hand_over(self.report, self.cluster, self.kube, self.host)
        self.stack.pop_all()

    def _make_host_directory(self) -> None:
        self.report.now("Preparing the host directory")
        self.host = hostdir.choose(os.environ)
        self.has_begun = True
        self.stack.callback(self._leave_host_directory)
        hostdir.fill(self.host)
        kind = "temporary" if self.host.temporary else "HOST_VOLUME_PATH"
        self.report.fact("Directory", f"{self.host.path} ({kind})")
        self.report.fact("Owner", f"uid {self.host.uid}, gid {self.host.gid}; the Sandboxes run as this user")

    def _leave_host_directory(self) -> None:
        self.host.tidy()
        if self.host.made and not self.host.temporary:
            self.report.say(f"These stay in {self.host.path}, where the demo made them: {', '.join(self.host.made)}")

    def _start_cluster(self) -> None:
        self.report.now(f"Starting the cluster ({self.cluster.name})")
        if self.cluster.status().components:
            self.report.fact("Cluster", "was there before, and is left running")
        else:
            self.has_own_cluster = True
            self.stack.callback(self.cluster.down)
        self.cluster.up([self.host.path, self.host.outside])
        self.report.fact("Kubeconfig", self.cluster.kubeconfig)

    def _refuse_cluster_in_use(self) -> None:
        """In somebody's own cluster, the demo's allowlist could stop Sandboxes that are not the demo's."""
        if self.cluster.name != "given" or not self.kube.find("crd", SANDBOXES):
            return
        others = [
            f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            for item in self.kube.items(SANDBOXES, "--all-namespaces")
            if item["metadata"]["namespace"] != NAMESPACE
        ]
        if others:
            raise DemoError(f"Your cluster has Sandboxes ({', '.join(others[:5])}), which the demo could stop.")

    def _start_operator(self) -> None:
        self.report.now("Starting the operator, with the rights of its ServiceAccount")
        if not self.has_own_cluster:
            self.stack.callback(put_back, self.kube, look(self.kube))
        self.operator = OperatorProcess(self.cluster)
        self.stack.callback(self.operator.close)
        self.operator.install()
        # Set before the operator starts, so that there is no moment with another list.
        self.kube.set_allowlist(yaml.safe_dump([str(self.host.path)], allow_unicode=True, width=10_000))
        self.operator.start()
        self.operator.wait_until_working()
        self.report.fact("Allowlist", f"[{self.host.path}]")

    def _make_namespace(self) -> None:
        """A namespace of the demo's own; one of an earlier run is removed first, with its Sandboxes."""
        found = self.kube.find("namespace", NAMESPACE)
        if found is not None:
            key, _, value = TESTS_LABEL.partition("=")
            if (found["metadata"].get("labels") or {}).get(key) != value:
                raise DemoError(f"The cluster has a namespace {NAMESPACE} that the demo did not make; remove it first.")
            self.report.say(f"Removing the namespace {NAMESPACE} of an earlier run.")
            self.kube.delete("namespace", NAMESPACE)
        self.stack.callback(self._remove_namespace)
        self.kube.make_namespace(NAMESPACE)
        self.report.fact("Namespace", NAMESPACE)

    def _remove_namespace(self) -> None:
        """The Sandboxes while the operator is still there, and their Pods.

        A garbage collector that has not heard of a new CRD yet (30 s) leaves Pods of deleted Sandboxes; their
        namespace takes them along. That then takes some ten seconds to go, which is not waited for.
        """
        self.kube.run("delete", SANDBOXES, "--all", "-n", NAMESPACE, "--wait=true", seconds=120)
        self.kube.delete("namespace", NAMESPACE, wait=False)
        wait_until("the Pods are gone", lambda: not self.kube.items("pods", "-n", NAMESPACE), GONE_SECONDS)
        self.report.say("The Sandboxes and their Pods are gone.")


if __name__ == "__main__":
    sys.exit(main())
