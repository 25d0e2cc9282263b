"""kind: its configuration as a whole, and the commands that are run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.cluster import ClusterError
from tests.cluster.kind import KindCluster, audit_patch, is_within, kind_config


class Runner:
    """Answers commands by how they begin, and remembers them."""

    def __init__(self, answers: dict[str, str], failing: Sequence[str] = ()) -> None:
        self.answers = answers
        self.failing = failing
        self.commands: list[str] = []

    def __call__(self, argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        assert seconds > 0
        command = " ".join(argv)
        self.commands.append(command)
        failed = any(command.startswith(begin) for begin in self.failing)
        output = next((text for begin, text in self.answers.items() if command.startswith(begin)), "")
        return subprocess.CompletedProcess(argv, int(failed), output, "it broke" if failed else "")


def test_the_configuration(tmp_path: Path) -> None:
    config = kind_config(Path("/cache/kind"), [Path("/srv/b"), Path("/srv/a"), Path("/srv/a")])
    patches = config["nodes"][0].pop("kubeadmConfigPatches")
    assert config == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": "sandmount-tests",
        "nodes": [
            {
                "role": "control-plane",
                "extraMounts": [
                    {"hostPath": "/cache/kind/policy", "containerPath": "/etc/kubernetes/sandmount"},
                    {"hostPath": "/cache/kind/audit", "containerPath": "/var/log/sandmount-audit"},
                    {"hostPath": "/srv/a", "containerPath": "/srv/a"},
                    {"hostPath": "/srv/b", "containerPath": "/srv/b"},
                ],
            }
        ],
    }
    assert patches == [audit_patch("v1beta3"), audit_patch("v1beta4")]


def test_the_audit_patch_has_the_form_of_its_version() -> None:
    old, new = (yaml.safe_load(audit_patch(version)) for version in ("v1beta3", "v1beta4"))
    assert (old["apiVersion"], new["apiVersion"]) == ("kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4")
    arguments = old["apiServer"]["extraArgs"]
    assert arguments == {
        "audit-policy-file": "/etc/kubernetes/sandmount/audit-policy.yaml",
        "audit-log-path": "/var/log/sandmount-audit/audit.log",
        "audit-log-mode": "blocking",
        "audit-log-maxsize": "4096",
    }
    assert {item["name"]: item["value"] for item in new["apiServer"]["extraArgs"]} == arguments
    assert old["apiServer"]["extraVolumes"] == new["apiServer"]["extraVolumes"]


def test_up_creates_the_cluster_with_its_own_kubeconfig(tmp_path: Path) -> None:
    runner = Runner({})
    cluster = KindCluster(tmp_path / "kind", node_image="kindest/node:v1.36.1", runner=runner)
    cluster.up([tmp_path])
    folder = tmp_path / "kind"
    assert runner.commands == [
        "kind get clusters",
        f"kind create cluster --name sandmount-tests --config {folder}/kind.yaml --kubeconfig {folder}/kubeconfig"
        " --wait 180s --image kindest/node:v1.36.1",
        "docker pull --quiet docker.io/library/busybox:stable",
        "kind load docker-image docker.io/library/busybox:stable --name sandmount-tests",
    ]
    assert yaml.safe_load((folder / "kind.yaml").read_text()) == kind_config(folder, [tmp_path])
    policy = yaml.safe_load((folder / "policy" / "audit-policy.yaml").read_text())
    assert policy["rules"] == [{"level": "Metadata"}]


def test_up_goes_on_where_busybox_cannot_be_pulled(tmp_path: Path) -> None:
    runner = Runner({}, failing=["docker pull"])
    KindCluster(tmp_path, runner=runner).up()
    assert not any(command.startswith("kind load") for command in runner.commands)


def test_up_refuses_a_running_cluster_without_a_wanted_directory(tmp_path: Path) -> None:
    mounts = json.dumps([{"Source": "/srv", "Destination": "/srv"}, {"Source": str(tmp_path), "Destination": "/other"}])
    runner = Runner({"kind get clusters": "sandmount-tests\n", "docker inspect": mounts})
    with pytest.raises(ClusterError, match=f"does not mount {tmp_path}.*make cluster-down"):
        KindCluster(tmp_path, runner=runner).up([tmp_path])
    assert not any(command.startswith("kind create") for command in runner.commands)


def test_up_refuses_what_cannot_be_a_directory(tmp_path: Path) -> None:
    runner = Runner({})
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", Path("relative")):
        with pytest.raises(ClusterError, match=r"make it first|not an absolute path"):
            KindCluster(tmp_path, runner=runner).up([path])
    assert runner.commands == []


@pytest.mark.parametrize(
    ("path", "expected"), [("/srv", True), ("/srv/a/b", True), ("/srvx", False), ("/", False), ("/data", False)]
)
def test_a_mounted_folder_covers_what_is_below_it(path: str, expected: bool) -> None:
    assert is_within(Path(path), {"/srv"}) is expected


def test_down_deletes_only_our_cluster(tmp_path: Path) -> None:
    runner = Runner({})
    KindCluster(tmp_path, runner=runner).down()
    assert runner.commands == [f"kind delete cluster --name sandmount-tests --kubeconfig {tmp_path}/kubeconfig"]


def test_load_image(tmp_path: Path) -> None:
    runner = Runner({})
    KindCluster(tmp_path, runner=runner).load_image(Path("/a.tar"))
    assert runner.commands == ["kind load image-archive /a.tar --name sandmount-tests"]


def test_a_failing_command_is_shown_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="`kind get clusters` failed: it broke"):
        KindCluster(tmp_path, runner=Runner({}, failing=["kind get"])).up()


def test_without_a_cluster_the_status_is_not_up(tmp_path: Path) -> None:
    status = KindCluster(tmp_path, runner=Runner({"kind get clusters": "other\n"})).status()
    assert status.components == ()
    assert not status.is_up
