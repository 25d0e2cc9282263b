"""Which cluster is chosen, and what is said when none can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import ClusterError, choose
from tests.cluster.choose import Machine, cache_folder, choose_name

NOTHING = Machine(is_linux=False, is_root=False, find=lambda _: None, docker_answers=lambda: False)
LINUX_ROOT = replace(NOTHING, is_linux=True, is_root=True)
WITH_KIND = replace(NOTHING, find=lambda name: f"/usr/bin/{name}", docker_answers=lambda: True)


def test_the_named_cluster_comes_first() -> None:
    assert choose_name({"SANDMOUNT_KUBECONFIG": "/k"}, WITH_KIND) == "given"


def test_kind_comes_before_the_local_cluster() -> None:
    assert choose_name({}, replace(WITH_KIND, is_linux=True, is_root=True)) == "kind"


def test_kind_needs_an_engine_that_answers() -> None:
    assert choose_name({}, replace(LINUX_ROOT, find=lambda _: "/usr/bin/it")) == "local"


def test_kind_needs_the_kind_command() -> None:
    machine = replace(LINUX_ROOT, find={"docker": "/usr/bin/docker"}.get, docker_answers=lambda: True)
    assert choose_name({}, machine) == "local"


def test_the_ambient_kubeconfig_is_never_used() -> None:
    assert choose_name({"KUBECONFIG": "/production"}, LINUX_ROOT) == "local"


@pytest.mark.parametrize("machine", [NOTHING, replace(NOTHING, is_linux=True), replace(NOTHING, is_root=True)])
def test_none_possible_says_what_to_install(machine: Machine) -> None:
    with pytest.raises(ClusterError, match=r"(?s)SANDMOUNT_KUBECONFIG.*Docker.*kind.*Linux as root"):
        choose_name({}, machine)


@pytest.mark.parametrize("name", ["given", "kind", "local"])
def test_a_wish_that_cannot_be_met_names_the_setting(name: str) -> None:
    with pytest.raises(ClusterError, match=f"SANDMOUNT_CLUSTER={name} needs"):
        choose_name({"SANDMOUNT_CLUSTER": name}, NOTHING)


def test_a_wish_wins_over_the_order() -> None:
    machine = replace(WITH_KIND, is_linux=True, is_root=True)
    assert choose_name({"SANDMOUNT_CLUSTER": "local", "SANDMOUNT_KUBECONFIG": "/k"}, machine) == "local"


def test_a_wrong_value_lists_the_right_ones() -> None:
    with pytest.raises(ClusterError, match="'k3d' is none of: given, kind, local"):
        choose_name({"SANDMOUNT_CLUSTER": "k3d"}, LINUX_ROOT)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SANDMOUNT_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, Path("/c")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/sandmount")),
        ({}, Path("~/.cache/sandmount").expanduser()),
    ],
)
def test_the_cache_folder(environ: dict[str, str], expected: Path) -> None:
    assert cache_folder(environ) == expected


def test_choosing_starts_nothing() -> None:
    cluster = choose({"SANDMOUNT_KUBECONFIG": "/not/there"}, NOTHING)
    assert cluster.name == "given"
    assert cluster.kubeconfig == Path("/not/there")


def test_a_given_kubeconfig_that_is_not_there_is_said_so() -> None:
    with pytest.raises(ClusterError, match="there is no such file"):
        choose({"SANDMOUNT_KUBECONFIG": "/not/there"}, NOTHING).up()


@pytest.mark.parametrize("environ", [{"SANDMOUNT_KUBECONFIG": "/k"}, {}])
def test_faults_and_simulated_nodes_are_for_the_local_cluster_only(environ: dict[str, str]) -> None:
    cluster = choose(environ, WITH_KIND)
    for fault in (cluster.compact_etcd, lambda: cluster.restart("etcd"), lambda: cluster.simulate_nodes(1)):
        with pytest.raises(ClusterError, match="SANDMOUNT_CLUSTER=local"):
            fault()
