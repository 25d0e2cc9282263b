"""The pure parts of the local cluster: what is built, where things lie, and how it is configured."""

from __future__ import annotations

import io
import ipaddress
import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.cluster import ClusterError
from tests.cluster.image import busybox_files, image_archive, tar_of
from tests.cluster.local import cgroups, containerd, control_plane, kubelet, network, state
from tests.cluster.local.build import MODULES, always_needed, binaries, parse_go_version, read_binaries
from tests.cluster.local.component import flags
from tests.cluster.local.layout import Layout
from tests.cluster.local.state import State

PORTS = {
    "etcd": 1,
    "etcd-peer": 2,
    "kube-controller-manager": 3,
    "kube-scheduler": 4,
    "kubelet-health": 5,
    "kubelet": 6,
    "kube-apiserver": 443,
}
STATE = State(boot="b", subnet=213, ports=PORTS)
LAYOUT = Layout(Path("/c"))


KUBERNETES = {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"}


def test_what_is_built_comes_from_go_mod() -> None:
    found = binaries()
    assert set(found) == KUBERNETES | {"containerd", "containerd-shim-runc-v2", "ctr", "etcd", "kwok"}
    versions = {found[name].version for name in KUBERNETES}
    assert len(versions) == 1
    version = versions.pop()
    assert f"k8s.io/kubernetes {version}" in (MODULES / "kubernetes" / "go.mod").read_text()
    assert found["kubelet"].path(Path("/bin")) == Path(f"/bin/kubernetes-{version}/kubelet")
    assert f"version.gitVersion={version}" in found["kubelet"].ldflags


def test_no_cluster_waits_for_the_build_of_kwok() -> None:
    assert {binary.name for binary in always_needed()} == set(binaries()) - {"kwok"}


def test_no_go_mod_names_where_modules_come_from() -> None:
    for file in MODULES.glob("*/go.*"):
        assert "://" not in file.read_text()


def test_a_tool_without_its_module_is_an_error() -> None:
    with pytest.raises(ClusterError, match="requires no module"):
        read_binaries("x", "module m\n\ntool example.org/a/cmd/b\n\nrequire example.org/c v1.0.0\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.21rc2 linux/arm64", (1, 21)), ("gccgo", (0, 0))],
)
def test_the_version_of_go(text: str, expected: tuple[int, int]) -> None:
    assert parse_go_version(text) == expected


def test_two_clusters_have_no_name_in_common() -> None:
    other = Layout(Path("/d"))
    assert not {LAYOUT.bridge, LAYOUT.network, LAYOUT.cgroup} & {other.bridge, other.network, other.cgroup}
    assert len(LAYOUT.bridge) <= 15


def test_a_long_cache_path_moves_the_shims_sockets_but_not_further() -> None:
    long = Layout(Path("/") / ("x" * 60))
    assert len(str(long.shim_sockets)) <= 40
    long.check()
    assert LAYOUT.shim_sockets == Path("/c/run/s")
    with pytest.raises(ClusterError, match="too long"):
        Layout(Path("/") / ("x" * 120)).check()


@pytest.mark.parametrize("name", ["a b", "a'b", "a,b", "a:b", "ä"])
def test_a_cache_path_that_options_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="characters"):
        Layout(Path("/") / name).check()


def test_addresses_derive_from_one_number() -> None:
    assert (STATE.node_address, STATE.api_address) == ("10.213.0.1", "10.213.128.1")
    assert STATE.api_url == "https://10.213.128.1"
    assert State("b", 213, {**PORTS, "kube-apiserver": 26443}).api_url == "https://10.213.128.1:26443"


def test_a_bridge_has_an_address_of_its_own_that_no_other_cluster_s_has() -> None:
    other = State(boot="b", subnet=214, ports=PORTS)
    found = [network.hardware_address(s.node_address) for s in (STATE, other)]
    assert found == ["0a:58:0a:d5:00:01", "0a:58:0a:d6:00:01"]


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert state.load(path) is None
    STATE.save(path)
    assert state.load(path) == STATE
    path.write_text('{"boot": "b"')
    with pytest.raises(ClusterError, match="cannot be read"):
        state.load(path)


def test_a_network_in_use_is_not_taken() -> None:
    used = [ipaddress.IPv4Network("10.213.4.0/24"), ipaddress.IPv4Network("10.214.0.1/32")]
    assert network.pick_subnet([]) == 213
    assert network.pick_subnet(used) == 215
    with pytest.raises(ClusterError, match="No free network"):
        network.pick_subnet([ipaddress.IPv4Network("10.0.0.0/8")])


def test_only_rules_of_our_network_are_found() -> None:
    rules = [
        ":CNI-HOSTPORT-DNAT - [0:0]",
        r'-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"sandmount-1\" id: \"a\"" -j CNI-DN-a',
        r'-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"sandmount-12\" id: \"b\"" -j CNI-DN-b',
        "-A POSTROUTING -j MASQUERADE",
    ]
    assert network.has_portmap_chains(rules)
    assert network.rules_of("sandmount-1", rules) == [rules[1]]


def test_options_become_a_command_line() -> None:
    assert flags(Path("/bin/x"), {"a": True, "b": 1, "c": Path("/d")}) == ("/bin/x", "--a=true", "--b=1", "--c=/d")


def test_toml_is_what_a_toml_reader_reads() -> None:
    settings = containerd.settings(LAYOUT, Path("/bin/shim"), "/usr/sbin/runc", Path("/usr/lib/cni"), "overlayfs")
    assert tomllib.loads(containerd.to_toml(settings)) == settings


def test_containerd_uses_no_folder_of_the_machine() -> None:
    settings = containerd.settings(LAYOUT, Path("/bin/shim"), "/usr/sbin/runc", Path("/usr/lib/cni"), "overlayfs")
    text = json.dumps(settings)
    for folder in ("/run/containerd", "/var/", "/opt", "/etc"):
        assert f'"{folder}' not in text
    plugins = settings["plugins"]
    assert plugins["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": "sandmount.test/pause:1"}


def test_the_kubelet_runs_on_both_cgroup_versions_and_evicts_nothing() -> None:
    settings = kubelet.settings(LAYOUT, STATE)
    assert settings["failCgroupV1"] is False
    assert settings["enforceNodeAllocatable"] == ["none"]
    assert settings["cgroupRoot"] == f"/{LAYOUT.cgroup}"
    assert {value for name, value in settings["evictionHard"].items() if "fs." in name} == {"0%"}
    assert settings["authentication"]["anonymous"] == {"enabled": False}


def test_the_api_server_asks_for_certificates_and_writes_its_audit_log_at_once() -> None:
    programs = {name: Path("/bin") / name for name in binaries()}
    etcd, apiserver, *_ = control_plane.components(LAYOUT, STATE, programs)
    assert "--authorization-mode=Node,RBAC" in apiserver.argv
    assert "--audit-log-mode=blocking" in apiserver.argv
    assert "--client-cert-auth=true" in etcd.argv
    assert etcd.ports == (("127.0.0.1", 1), ("127.0.0.1", 2))
    assert apiserver.ports == (("10.213.128.1", 443),)


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    mountinfo = (
        "30 28 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "31 28 0:29 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"
        "32 28 0:30 / /sys rw - sysfs sysfs rw\n"
    )
    assert cgroups.hierarchies(mountinfo) == [
        (Path("/sys/fs/cgroup/memory"), False),
        (Path("/sys/fs/cgroup/unified"), True),
    ]


def test_an_image_archive_is_both_docker_and_oci_and_reproducible() -> None:
    layer = tar_of(busybox_files(b"\x7fELF", ["sh", "busybox", "ls"]))
    archive = image_archive("docker.io/library/busybox:stable", [layer], ["sh"], "amd64")
    assert archive == image_archive("docker.io/library/busybox:stable", [layer], ["sh"], "amd64")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}
    docker = json.loads(files["manifest.json"])[0]
    index = json.loads(files["index.json"])["manifests"][0]
    assert docker["RepoTags"] == ["docker.io/library/busybox:stable"]
    assert index["annotations"]["io.containerd.image.name"] == "docker.io/library/busybox:stable"
    manifest = json.loads(files["blobs/sha256/" + index["digest"].removeprefix("sha256:")])
    assert docker["Config"] == "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")
    assert files[docker["Layers"][0]] == layer


def test_the_image_has_each_command_as_a_link_and_a_tmp_for_everybody() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(busybox_files(b"\x7fELF", ["sh", "busybox", "ls"])))) as tar:
        members = {member.name: member for member in tar}
    assert members["bin/sh"].linkname == members["bin/ls"].linkname == "busybox"
    assert members["bin/busybox"].isreg()
    assert members["tmp"].mode == 0o1777
