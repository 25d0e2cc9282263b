"""Fixtures for every test that needs a cluster; tests in tests/unit need none.

`make test` runs files side by side. On the local cluster each worker has one of its own, from the same binaries;
elsewhere there is one worker.
"""

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster, ClusterError, choose
from tests.cluster.base import TESTS_LABEL
from tests.cluster.local import mounts
from tests.cluster.local.cluster import LocalCluster
from tests.support.fixtures import audit, host, kube, needs, no_traceback, operator, sandboxes, shared
from tests.support.places import HOST_DIRECTORY

__all__ = ["audit", "host", "kube", "needs", "no_traceback", "operator", "sandboxes", "shared"]

WORKERS = 3
"""Clusters side by side; their tests mostly wait for a kubelet."""

WAS_UP = pytest.StashKey[bool]()
USED = pytest.StashKey[Path]()
"""A file that is there when a test of this run asked for the cluster."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many workers ``-n auto`` means."""
    assert config
    try:
        return WORKERS if isinstance(choose(), LocalCluster) else 1
    except ClusterError:
        return 1


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remembers whether the cluster was up, so that it is left as it was found."""
    if is_worker(session.config):
        return
    try:
        session.config.stash[WAS_UP] = choose().status().is_up
    except ClusterError:
        session.config.stash[WAS_UP] = True  # there is none to take down
    session.config.stash[USED] = Path(tempfile.gettempdir()) / f"sandmount-used-{uuid.uuid4().hex}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes the cluster down when a test started it, also when the worker that did is dead."""
    if is_worker(session.config) or session.config.stash.get(WAS_UP, True):
        return
    used = session.config.stash[USED]
    if used.exists():
        used.unlink()
        choose().down()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures that tests recorded with ``record_property``."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")


def pytest_configure_node(node: Any) -> None:
    """Tells each worker what this process found."""
    node.workerinput["was_up"] = node.config.stash[WAS_UP]
    node.workerinput["used"] = str(node.config.stash[USED])


def was_up(config: pytest.Config) -> bool:
    """Whether the cluster was up before the tests."""
    return bool(config.workerinput["was_up"]) if hasattr(config, "workerinput") else config.stash[WAS_UP]


def used(config: pytest.Config) -> Path:
    """The file that says that a test asked for the cluster."""
    return Path(config.workerinput["used"]) if hasattr(config, "workerinput") else config.stash[USED]


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that run tests."""
    return hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster of this worker: up, and without what an earlier run may have left."""
    first = choose()
    number = int(getattr(request.config, "workerinput", {}).get("workerid", "gw0").removeprefix("gw"))
    if number == 0 or not isinstance(first, LocalCluster):
        found_up = was_up(request.config)
        used(request.config).touch()
        first.up([HOST_DIRECTORY])
        if found_up:
            first.reset()
        yield first
        if found_up:  # or it goes as a whole
            first.reset()
        return
    first.prepare()
    with spare_cluster(first) as spare, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDMOUNT_CACHE", str(spare.layout.cache))  # for the commands that tests run: the same cluster
        yield spare


@contextmanager
def spare_cluster(first: LocalCluster, admission: str = "") -> Iterator[LocalCluster]:
    """A second local cluster, from the same binaries and with names, addresses and ports of its own.

    ``admission`` is an AdmissionConfiguration for its API server.
    """
    cache = Path(tempfile.mkdtemp(prefix="sm-"))
    (cache / "bin").symlink_to(first.layout.bin)
    spare = LocalCluster(cache, admission)
    try:
        spare.up([HOST_DIRECTORY])
        yield spare
    finally:
        spare.down()
        mounts.remove_folder(cache)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace; its removal afterwards is not waited for."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    subprocess.run([*kubectl, "label", "namespace", name, TESTS_LABEL], check=True, capture_output=True)
    yield name
    subprocess.run([*kubectl, "delete", "namespace", name, "--wait=false"], check=True, capture_output=True)
