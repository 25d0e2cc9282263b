"""The local cluster itself: it repeats, it mends what broke, and it leaves nothing behind.

What is broken and stopped here is a second cluster beside the one of the session, with names, addresses and ports of
its own: other tests do not notice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster, ClusterError
from tests.cluster.image import BUSYBOX_IMAGE
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import cgroups, machine, mounts, network
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.files import write_atomically
from tests.cluster.local.processes import PROC, all_pids, end_all, tagged
from tests.conftest import spare_cluster

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet")
NAMESPACE = "cluster-test"


@pytest.fixture(scope="module")
def local(cluster: Cluster) -> LocalCluster:
    """The session's cluster, if it is the local one."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip(f"the cluster in use is {cluster.name!r}, not the local one")
    return cluster


@pytest.fixture(scope="module")
def before(local: LocalCluster) -> dict[str, list[str]]:
    """What the machine was like before the spare cluster."""
    assert local.status().is_up
    return traces()


@pytest.fixture(scope="module")
def spare(local: LocalCluster, before: dict[str, list[str]]) -> Iterator[LocalCluster]:
    """A cluster that tests may break, built from the same binaries."""
    assert before
    with spare_cluster(local) as spare:
        yield spare


@pytest.fixture
def namespace(local: LocalCluster) -> Iterator[str]:
    """A namespace in the session's cluster."""
    kubectl = Kubectl(local.kubectl, local.kubeconfig)
    make_namespace(kubectl)
    yield NAMESPACE
    kubectl.run("delete", "namespace", NAMESPACE, "--wait=true")


def make_namespace(kubectl: Kubectl) -> None:
    """Make it with the label of tests, and wait until it takes Pods."""
    kubectl.run("create", "namespace", NAMESPACE)
    kubectl.run("label", "namespace", NAMESPACE, "app.kubernetes.io/part-of=sandmount-tests")
    for _ in range(100):
        if not kubectl.try_run("get", "serviceaccount", "default", "-n", NAMESPACE).returncode:
            return
        time.sleep(0.1)
    raise AssertionError("the namespace has no ServiceAccount")


def run_pod(kubectl: Kubectl, name: str, folder: Path, namespace: str = "default") -> None:
    """Start a Pod that mounts a part of a host directory, and wait until it is Ready."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": BUSYBOX_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", "echo says $(cat /mnt/word); exec sleep 3600"],
                    "volumeMounts": [{"name": "host", "mountPath": "/mnt", "subPath": "part"}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": str(folder), "type": "Directory"}}],
        },
    }
    manifest = folder / f"{name}.json"
    manifest.write_text(json.dumps(pod))
    kubectl.run("apply", "-f", str(manifest))
    kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=60s", seconds=70)


@pytest.fixture
def host_folder(tmp_path: Path) -> Path:
    """A host directory whose part `part` a Pod mounts."""
    part = tmp_path / "part"
    part.mkdir()
    (part / "word").write_text("hello\n")
    return tmp_path


def traces() -> dict[str, list[str]]:
    """All that a cluster could leave behind on this machine."""
    folders = (*machine.OUTSIDE, Path("/run"), Path("/run/netns"), Path("/run/containerd"), Path("/var/lib"))
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    programs = []
    for pid in all_pids():
        try:
            programs.append(str((PROC / str(pid) / "exe").readlink()))
        except OSError:
            continue
    names = ("containerd", "etcd", "kube", "runc", "busybox")
    return {
        "mounts": sorted(map(str, mounts.mount_points(mounts.MOUNTINFO.read_text()))),
        "links": sorted(network.links()),
        "nat rules": sorted(rule for rule in network.nat_rules() if "CNI" in rule),
        "cgroups": sorted(
            str(path)
            for root, _ in cgroups.hierarchies(mounts.MOUNTINFO.read_text())
            for path in root.glob("sandmount*")
        ),
        "files": sorted(map(str, found)),
        "programs": sorted(program for program in programs if any(name in Path(program).name for name in names)),
        "settings": [f"{name}={value}" for name, value in machine.read_sysctls().items()],
    }


def test_a_second_up_changes_nothing(local: LocalCluster) -> None:
    pids = local.status().pids
    assert set(pids) == set(COMPONENTS)
    local.up()
    assert local.status().pids == pids


def test_logs_exec_and_host_directories_work(local: LocalCluster, namespace: str, host_folder: Path) -> None:
    kubectl = Kubectl(local.kubectl, local.kubeconfig)
    run_pod(kubectl, "talker", host_folder, namespace)
    assert kubectl.run("logs", "talker", "-n", namespace) == "says hello\n"
    kubectl.run("exec", "talker", "-n", namespace, "--", "sh", "-c", "echo written > /mnt/answer")
    assert (host_folder / "part" / "answer").read_text() == "written\n"


def test_a_token_of_a_service_account_is_accepted_and_grants_nothing(
    local: LocalCluster, namespace: str, tmp_path: Path
) -> None:
    kubectl = Kubectl(local.kubectl, local.kubeconfig)
    token = kubectl.run("create", "token", "default", "-n", namespace).strip()
    config = yaml.safe_load(local.kubeconfig.read_text())
    # Nothing but the token: a client certificate beside it would win.
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    own = tmp_path / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    account = Kubectl(local.kubectl, own)
    whoami = account.run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert whoami == f"system:serviceaccount:{namespace}:default"
    assert account.try_run("get", "secrets", "-n", namespace).returncode


def test_a_request_is_in_the_audit_log_when_it_was_answered(local: LocalCluster) -> None:
    kubectl = Kubectl(local.kubectl, local.kubeconfig)
    assert local.audit_log is not None
    start = local.audit_log.stat().st_size
    kubectl.run("get", "--raw", "/api/v1/namespaces/default/configmaps?labelSelector=audit%3Dprobe")
    with local.audit_log.open() as log:
        log.seek(start)
        events = [json.loads(line) for line in log]
    assert any("audit%3Dprobe" in event["requestURI"] and event["level"] == "Metadata" for event in events)


@pytest.mark.parametrize("component", COMPONENTS)
def test_up_mends_a_killed_component(spare: LocalCluster, host_folder: Path, component: str) -> None:
    pids = spare.status().pids
    os.kill(pids[component], signal.SIGKILL)
    spare.up()
    mended = spare.status()
    assert mended.is_up
    assert {name for name in COMPONENTS if mended.pids[name] != pids[name]} == {component}
    run_pod(Kubectl(spare.kubectl, spare.kubeconfig), f"after-{component}", host_folder)


def test_a_killed_shim_is_mended(spare: LocalCluster, host_folder: Path) -> None:
    kubectl = Kubectl(spare.kubectl, spare.kubeconfig)
    run_pod(kubectl, "before-shim", host_folder)
    shims = [
        process for process in tagged(spare.layout.run) if "shim" in (PROC / str(process.pid) / "exe").readlink().name
    ]
    assert shims
    end_all(shims)
    spare.up()
    run_pod(kubectl, "after-shim", host_folder)
    assert (host_folder / "part" / "word").read_text() == "hello\n"


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
def test_restart_replaces_one_process_and_waits(spare: LocalCluster, component: str) -> None:
    pids = spare.status().pids
    spare.restart(component)
    assert Kubectl(spare.kubectl, spare.kubeconfig).run("get", "namespaces", "-o", "name")
    now = spare.status().pids
    assert {name for name in COMPONENTS if now[name] != pids[name]} == {component}


def test_restart_of_nothing_known_says_what_there_is(spare: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="kube-apiserver"):
        spare.restart("kube-nothing")


def test_a_watch_from_before_a_compaction_is_told_410(spare: LocalCluster) -> None:
    kubectl = Kubectl(spare.kubectl, spare.kubeconfig)
    make_namespace(kubectl)
    assert spare.compact_etcd() > 1
    # The API server's watch cache still knows old versions; it is asked for one that only etcd could tell.
    answer = kubectl.try_run("get", "--raw", "/api/v1/namespaces?resourceVersion=1&resourceVersionMatch=Exact&limit=1")
    assert "too old" in answer.stderr or "compacted" in answer.stderr


def test_reset_removes_what_is_labelled_and_nothing_else(spare: LocalCluster) -> None:
    kubectl = Kubectl(spare.kubectl, spare.kubeconfig)
    kubectl.run("create", "namespace", "stays")
    kubectl.run("create", "clusterrole", "goes", "--verb=get", "--resource=pods")
    kubectl.run("label", "clusterrole", "goes", "app.kubernetes.io/part-of=sandmount")
    spare.reset()
    names = [item["metadata"]["name"] for item in kubectl.items("namespaces")]
    assert "stays" in names
    assert NAMESPACE not in names
    assert kubectl.try_run("get", "clusterrole", "goes").returncode


def test_up_mends_a_reboot_and_keeps_the_objects(spare: LocalCluster, host_folder: Path) -> None:
    kubectl = Kubectl(spare.kubectl, spare.kubeconfig)
    kubectl.run("create", "configmap", "kept")
    layout = spare.layout
    # What a reboot does: no processes, mounts, devices or cgroups; files stay, and so do stale records and sockets.
    end_all(tagged(layout.run))
    cgroups.remove(layout.cgroup)
    end_all(tagged(layout.run))
    network.remove_bridge(layout)
    mounts.unmount_below(layout.run)
    state = json.loads(layout.state.read_text())
    write_atomically(layout.state, json.dumps({**state, "boot": "an earlier one"}))
    spare.up()
    kubectl.run("get", "configmap", "kept")
    run_pod(kubectl, "after-reboot", host_folder)


def test_a_folder_is_not_deleted_while_a_host_directory_is_mounted_below(local: LocalCluster, tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    (folder / "subpath").mkdir(parents=True)
    data.mkdir()
    (data / "kept").write_text("kept")
    network.run("mount", "--bind", str(data), str(folder / "subpath"))
    try:
        with pytest.raises(ClusterError, match="mounts below"):
            mounts.remove_folder(folder)
    finally:
        mounts.unmount_below(folder)
    mounts.remove_folder(folder)
    assert not folder.exists()
    assert (data / "kept").read_text() == "kept"
    assert local.status().is_up


def test_an_interrupted_up_is_continued_by_the_next(spare: LocalCluster) -> None:
    spare.down()
    environ = {**os.environ, "SANDMOUNT_CACHE": str(spare.layout.cache), "SANDMOUNT_CLUSTER": "local"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "up"], env=environ, stderr=subprocess.PIPE
    ) as command:
        time.sleep(1.0)
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=30)
    spare.up()
    assert spare.status().is_up


@pytest.mark.alone
def test_down_leaves_nothing_and_touches_no_host_directory(
    spare: LocalCluster, before: dict[str, list[str]], host_folder: Path
) -> None:
    run_pod(Kubectl(spare.kubectl, spare.kubeconfig), "last", host_folder)
    spare.down()
    assert not spare.status().is_up
    # Both clusters run the same programs, so the list of programs alone could hide one that was left.
    assert tagged(spare.layout.run) == []
    assert sorted(path.name for path in spare.layout.cache.iterdir()) == ["bin", "lock"]
    assert (host_folder / "part" / "word").read_text() == "hello\n"
    # Containers of the session's cluster may end meanwhile; what counts is that nothing was added.
    # Kernel settings are put back by the cluster that ends last, which is the session's.
    after = {kind: found for kind, found in traces().items() if kind != "settings"}
    assert {kind: sorted(set(after[kind]) - set(before[kind])) for kind in after} == {kind: [] for kind in after}
    spare.up()
    assert spare.status().is_up
