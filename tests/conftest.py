"""Fixtures for every test that needs a cluster. Tests in tests/unit need none."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster, choose
from tests.cluster.base import TESTS_LABEL

HOST_DIRECTORY = Path(os.environ.get("SANDMOUNT_TEST_DIR", "/srv/sandmount-tests"))
"""Directories of the host that tests mount are made below this one."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, up and without what an earlier run may have left; taken down again if it was down before."""
    found = choose()
    was_up = found.status().is_up
    found.up([HOST_DIRECTORY])
    found.reset()
    yield found
    found.reset()
    if not was_up:
        found.down()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace; its removal afterwards is not waited for."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    subprocess.run([*kubectl, "label", "namespace", name, TESTS_LABEL], check=True, capture_output=True)
    yield name
    subprocess.run([*kubectl, "delete", "namespace", name, "--wait=false"], check=True, capture_output=True)
