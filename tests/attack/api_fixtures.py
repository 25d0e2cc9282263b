"""Fixtures of the attacks through the Kubernetes API; a test module names this one in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.api_support import POD_USER, Tenant, tenant
from tests.support import Kube, OperatorProcess
from tests.support.kubectl import tail


@pytest.fixture
def no_traceback(operator: OperatorProcess) -> Iterator[None]:
    """The operator runs before and after, and reports no mistake of its own in between."""
    begun = operator.log.stat().st_size
    yield
    with operator.log.open("rb") as log:
        log.seek(begun)
        said = log.read().decode(errors="replace")
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:4000]
    assert operator.pid is not None, "\n".join(tail(operator.log))


@pytest.fixture
def pod_user(kube: Kube, namespace: str) -> Tenant:
    """Somebody with all rights on Pods in the namespace, and none on Sandboxes."""
    return tenant(kube, namespace, f"pods-{namespace}", POD_USER)
