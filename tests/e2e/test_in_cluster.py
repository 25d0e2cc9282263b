"""The operator as docs/install.md installs it: its image, its manifests and its account, in a cluster of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import rights
from tests.cluster import Cluster, operator_image
from tests.cluster.choose import cache_folder
from tests.cluster.kubectl import SANDBOXES
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.e2e import webhook
from tests.helm.program import program
from tests.support import Json, Kube, wait_until
from tests.support.audit import OPERATOR, AuditLog, counted
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import CRDS, MANIFESTS, REPOSITORY
from tests.support.kubectl import ALLOWLIST_NAME, OPERATOR_NAMESPACE

DOCUMENT = REPOSITORY / "docs" / "install.md"
DEPLOYMENT = "deployment/sandmount-operator"
READY_SECONDS = 120


@dataclass(frozen=True)
class Installed:
    """A cluster with the operator in it."""

    kube: Kube
    cluster: LocalCluster
    folder: Path
    """With the repository's folders in it, and what the document's commands write."""
    how: str
    """Empty, or `` with Helm``."""

    def do(self, heading: str, but: str = "nothing") -> None:
        """Run the commands that the document has below a heading, as its reader would; one of them can be left out."""
        text = DOCUMENT.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        commands = "\n".join(line for block in blocks for line in block.splitlines() if but not in line)
        assert commands, heading
        path = f"{self.kube.binary.parent}:{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(self.kube.kubeconfig)}
        script = ["bash", "-e", "-o", "pipefail", "-c", commands]
        try:
            subprocess.run(
                script, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=True
            )
        except subprocess.SubprocessError as error:
            log = self.kube.try_run("logs", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--tail=30")
            raise AssertionError(f"{error}\n{getattr(error, 'stderr', '')}\n{log.stdout}") from error

    def operator_pod(self) -> Json:
        """The operator's one Pod; an earlier one may still be ending."""
        pods = self.kube.items("pods", "-n", OPERATOR_NAMESPACE)
        [found] = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return found

    def at(self, path: str) -> str:
        """What the operator answers there, by way of the API server."""
        name = self.operator_pod()["metadata"]["name"]
        return self.kube.run("get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{name}:8080/proxy{path}")

    def log(self) -> str:
        """The operator's log."""
        return self.kube.run("logs", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--tail=-1")

    def introduce_webhook(self) -> None:
        """As an admin does it once, when the webhook has a certificate."""
        wait_until("the webhook has a certificate", lambda: "tls.crt" in webhook.secret(self.kube), 30)
        webhook.introduce(self.kube)

    def roll_out(self) -> None:
        """Return when it is Ready."""
        self.kube.run("rollout", "status", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, f"--timeout={READY_SECONDS}s")


@pytest.fixture(scope="module", params=["", " with Helm"], ids=["manifests", "chart"])
def installed(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    """By the document's own commands: the CRD, and the overlay for production, or the chart."""
    assert isinstance(cluster, LocalCluster), "image and log are only known of the local cluster"
    archive = operator_image.build(cache_folder(os.environ) / "bin" / "images")
    with spare_cluster(cluster) as own:
        own.load_image(archive)
        folder = tmp_path_factory.mktemp("admin")
        for source in (CRDS, MANIFESTS, REPOSITORY / "charts", REPOSITORY / "examples"):
            (folder / source.name).symlink_to(source)
        (folder / "bin").mkdir()
        if request.param:
            (folder / "bin" / "helm").symlink_to(program())
        it = Installed(Kube.of(own), own, folder, request.param)
        it.do("Install" + it.how)
        yield it


@pytest.fixture
def users(installed: Installed, host: Path) -> Iterator[tuple[Sandboxes, Path]]:
    """Sandboxes in a namespace of a user's, and a directory that is allowed there."""
    name, root = f"user-{uuid.uuid4().hex[:8]}", host / "shared"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    installed.kube.set_allowlist(f"- {root}\n")
    installed.kube.run("create", "namespace", name)
    yield Sandboxes(installed.kube, name, Path("/dev/null")), root
    installed.kube.run("delete", "namespace", name, "--wait=true", seconds=120)


def test_it_runs_as_nobody_on_a_root_that_cannot_be_written(installed: Installed) -> None:
    script = "import os, pathlib\nprint(os.getuid(), os.getgid(), os.getgroups())\npathlib.Path('/x').write_text('')"
    done = installed.kube.exec(
        installed.operator_pod()["metadata"]["name"], OPERATOR_NAMESPACE, "python3", "-c", script
    )
    assert done.stdout.startswith("65532 65532")
    assert "Read-only file system" in done.stderr


def test_a_sandbox_is_served_and_one_is_denied_by_the_rights_of_the_manifests(
    installed: Installed, users: tuple[Sandboxes, Path]
) -> None:
    sandboxes, root = users
    log = AuditLog.of(installed.cluster)
    sandboxes.apply("granted", host_volume(root))
    sandboxes.wait_ready("granted")
    assert sandboxes.sh("granted", "echo written > /mnt/data/file")[0] == 0
    assert (root / "file").read_text() == "written\n"
    sandboxes.apply("denied", host_volume(Path("/etc")))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    sandboxes.delete("granted")
    refused = [r for r in log.requests(OPERATOR) if r.code in (401, 403)]
    assert not refused, counted(refused)


def test_nothing_is_asked_that_its_roles_do_not_grant(installed: Installed) -> None:
    """That each right is used, too, takes all suites to see: `make test-deployed`."""
    kinds = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
    found = installed.kube.items(",".join(kinds), "-A", "-l", "app.kubernetes.io/part-of=sandmount")
    lines, wrong = rights.compared(rights.granted(found), rights.asked(installed.cluster))
    assert len(lines) > 10
    assert [w for w in wrong if "not granted" in w] == []


def test_the_kubelet_s_probes_and_a_scrape_are_answered(installed: Installed) -> None:
    assert installed.at("/healthz") == installed.at("/readyz") == "ok\n"
    scraped = installed.at("/metrics")
    assert 'sandmount_build_info{version="' in scraped
    assert "\nsandmount_ready 1.0\n" in scraped


def test_its_log_is_json(installed: Installed) -> None:
    lines = [json.loads(line) for line in installed.log().splitlines()]
    assert {"all Sandboxes and Pods are known; working"} <= {line.get("message") for line in lines}


def test_sandboxes_run_on_without_it_and_it_finds_them_as_they_are(
    installed: Installed, users: tuple[Sandboxes, Path]
) -> None:
    """Uninstalled and installed again, the list first: neither the Sandbox nor its Pod notices."""
    sandboxes, root = users
    sandboxes.apply("stays", host_volume(root))
    before = sandboxes.wait_ready("stays")
    pod = sandboxes.pod("stays")
    installed.do("Remove" + installed.how)
    assert installed.kube.find("deployment", "sandmount-operator", OPERATOR_NAMESPACE) is None
    assert sandboxes.get("stays")["status"] == before["status"]

    log = AuditLog.of(installed.cluster)
    own: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ALLOWLIST_NAME, "namespace": OPERATOR_NAMESPACE},
        "data": {"allowed_host_paths": f"- {root}\n"},
    }
    if not installed.how:  # Helm leaves namespace and list
        installed.kube.run("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
        assert webhook.fed(installed.kube, own, "apply").returncode == 0
    installed.do("Install" + installed.how, but="allowlist.yaml")
    assert installed.kube.allowlist() == f"- {root}\n", "installing must never replace an admin's list"
    installed.roll_out()
    wait_until("it is ready", lambda: installed.at("/readyz") == "ok\n", 30)
    assert log.writes(sandboxes.namespace) == []
    now = sandboxes.pod("stays")
    assert pod is not None and now is not None and now["metadata"]["uid"] == pod["metadata"]["uid"]


def test_an_upgrade_leaves_list_webhook_and_pods_as_they_are(
    installed: Installed, users: tuple[Sandboxes, Path]
) -> None:
    """From an installation that differs, so that the operator's Pod is another one afterwards."""
    sandboxes, root = users
    kube = installed.kube
    installed.introduce_webhook()
    told, secret = kube.get("validatingwebhookconfiguration", "sandmount")["webhooks"], webhook.secret(kube)
    sandboxes.apply("stays", host_volume(root))
    sandboxes.wait_ready("stays")
    pod = sandboxes.pod("stays")
    older = '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--workers=3"}]'
    kube.run("patch", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--type=json", "-p", older)
    installed.roll_out()
    before = installed.operator_pod()["metadata"]["uid"]

    installed.do("Upgrade" + installed.how)
    after = installed.operator_pod()
    assert after["metadata"]["uid"] != before
    assert "--workers=3" not in after["spec"]["containers"][0]["args"]
    wait_until("it is ready", lambda: installed.at("/readyz") == "ok\n", 30)
    now = sandboxes.pod("stays")
    assert pod is not None and now is not None and now["metadata"]["uid"] == pod["metadata"]["uid"]
    assert kube.allowlist() == f"- {root}\n"
    assert kube.get("validatingwebhookconfiguration", "sandmount")["webhooks"] == told
    assert webhook.secret(kube) == secret


def test_without_its_crd_it_is_not_ready_and_says_why_and_goes_on_when_it_is_back(installed: Installed) -> None:
    installed.do("Remove the CRD")
    try:
        look = "import urllib.request as r\ntry: print(r.urlopen('http://127.0.0.1:8080/readyz').read())\n"
        look += "except r.HTTPError as e: print(e.code, e.read().decode())"

        def says_so() -> bool:
            name = installed.operator_pod()["metadata"]["name"]
            done = installed.kube.exec(name, OPERATOR_NAMESPACE, "python3", "-c", look)
            return done.stdout.startswith(f"503 waiting for the CRD {SANDBOXES}, which is not installed")

        wait_until("it says that it waits for the CRD", says_so, 90)
    finally:
        installed.kube.run("apply", "--server-side", "-k", str(CRDS))
    installed.roll_out()
    wait_until("it is ready", lambda: "ok" in installed.at("/readyz"), 60)


def test_the_production_overlay_refuses_at_apply_what_would_not_run(
    installed: Installed, users: tuple[Sandboxes, Path]
) -> None:
    """By the webhook, which the API server calls at its Service; and an empty list allows nothing."""
    sandboxes, root = users
    kube = installed.kube
    installed.introduce_webhook()
    denied = sandboxes.manifest("denied", host_volume(Path("/etc")))

    def refused() -> bool:
        done = webhook.fed(kube, denied, "apply", "--dry-run=server")
        return done.returncode != 0 and 'host.path "/etc" is not on the allowlist' in done.stderr

    wait_until("kubectl apply is refused", refused, 30)
    sandboxes.apply("granted", host_volume(root))
    sandboxes.wait_ready("granted")
    kube.set_allowlist("[]")
    assert sandboxes.wait_reason("granted", "HostPathNotAllowed")["status"] == "False"


def test_all_is_removed_in_the_documented_order_and_no_pod_stays(
    installed: Installed, users: tuple[Sandboxes, Path]
) -> None:
    """The last test: nothing is installed afterwards. The operator goes first, so Kubernetes alone ends the Pods."""
    sandboxes, root = users
    installed.kube.set_allowlist(f"- {root}\n")
    sandboxes.apply("goes", host_volume(root))
    sandboxes.wait_ready("goes")
    assert sandboxes.sh("goes", "echo kept > /mnt/data/file")[0] == 0
    installed.do("Remove" + installed.how)
    installed.do("Remove the CRD")
    wait_until("its Pod is gone", lambda: sandboxes.pod("goes") is None, 60)
    assert (root / "file").read_text() == "kept\n"
    left = installed.kube.run("get", "clusterrole,clusterrolebinding,validatingadmissionpolicy", "-o", "name")
    left += installed.kube.run("get", "validatingwebhookconfiguration,crd", "-o", "name")
    assert not re.search("sandmount|sandboxes", left)
