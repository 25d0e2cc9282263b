"""Installs the CRD and gives a client that sends Sandboxes. Most are dry runs, which leave nothing behind.

No operator may run meanwhile: it would change the few that are stored.
"""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config

from tests.api.sandboxes import Json, complete
from tests.api.schema import CRDS
from tests.cluster.base import TESTS_LABEL
from tests.support import OperatorProcess

RESOURCE = {"group": "sandmount.dev", "version": "v1alpha1", "plural": "sandboxes"}
MANAGER = "sandmount-api-tests"

Kubectl = Callable[..., str]


class Sandboxes:
    """The Sandboxes of one namespace. Errors are the client's ApiException."""

    def __init__(self, api: client.CustomObjectsApi, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self._where = RESOURCE | {"namespace": namespace}

    def try_create(self, sandbox: Json, *, unknown_fields: str = "Strict") -> Json:
        """What the API server would store. It stores nothing."""
        return self.create(sandbox, unknown_fields=unknown_fields, dry_run="All")

    def create(self, sandbox: Json, *, unknown_fields: str = "Strict", **more: Any) -> Json:
        """Create it. `unknown_fields` is Strict (refused), Warn or Ignore."""
        created: Json = self._api.create_namespaced_custom_object(
            **self._where, body=sandbox, field_validation=unknown_fields, field_manager=MANAGER, **more
        )
        return created

    def get(self, name: str) -> Json:
        """Read it."""
        found: Json = self._api.get_namespaced_custom_object(**self._where, name=name)
        return found

    def table(self) -> Json:
        """All of them, in the form that kubectl asks for before it prints."""
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        found: Json = self._api.list_namespaced_custom_object(**self._where, _headers={"Accept": accept})
        return found

    def patch(self, name: str, change: Json) -> Json:
        """Merge a change into it."""
        patched: Json = self._api.patch_namespaced_custom_object(**self._where, name=name, body=change)
        return patched

    def patch_status(self, name: str, status: Json, **more: Any) -> Json:
        """Merge a change into its status."""
        patched: Json = self._api.patch_namespaced_custom_object_status(
            **self._where, name=name, body={"status": status}, **more
        )
        return patched

    def delete(self, name: str) -> None:
        """Delete it."""
        self._api.delete_namespaced_custom_object(**self._where, name=name)


@pytest.fixture(scope="module", autouse=True)
def nobody_at_work() -> Iterator[None]:
    """An operator that earlier tests of this process have left running rests meanwhile."""
    resting = list(OperatorProcess.at_work)
    for operator in resting:
        operator.stop()
    yield
    for operator in resting:
        operator.start()
        operator.wait_until_working()


@pytest.fixture(scope="session")
def kubectl(cluster: Any) -> Kubectl:
    """Runs kubectl and returns what it prints. Raises CalledProcessError."""

    def run(*args: str, stdin: str | None = None) -> str:
        command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout

    return run


@pytest.fixture(scope="session")
def crd(kubectl: Kubectl) -> None:
    """The CRD, installed and served."""
    name = "crd/sandboxes.sandmount.dev"
    generation = ("get", name, "--ignore-not-found", "-o", "jsonpath={.metadata.generation}")
    before = kubectl(*generation)
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
    kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    if kubectl(*generation) != before:
        time.sleep(2)  # nothing tells when a changed schema is in force


@pytest.fixture(scope="session")
def api_client(cluster: Any) -> Iterator[client.ApiClient]:
    """A client with the cluster's credentials."""
    with config.new_client_from_config(config_file=str(cluster.kubeconfig)) as made:
        yield made


@pytest.fixture(scope="session")
def sandboxes(crd: None, api_client: client.ApiClient, kubectl: Kubectl) -> Iterator[Sandboxes]:
    """Sandboxes of one namespace for all dry runs, which has no others."""
    name = f"test-api-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, TESTS_LABEL)
    yield Sandboxes(client.CustomObjectsApi(api_client), name)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def stored(sandboxes: Sandboxes, api_client: client.ApiClient, namespace: str) -> Sandboxes:
    """Sandboxes of a namespace of the test's own, for what has to be stored."""
    return Sandboxes(client.CustomObjectsApi(api_client), namespace)


@pytest.fixture(scope="module")
def subject(sandboxes: Sandboxes) -> Iterator[str]:
    """The name of a stored Sandbox, for dry runs against its status."""
    name = "subject"
    sandboxes.create(complete("") | {"metadata": {"name": name}})
    yield name
    sandboxes.delete(name)
