"""Fixtures of the attacks through the Kubernetes API; a test module names this one in ``pytest_plugins``."""

from __future__ import annotations

import pytest

from tests.attack.api_support import POD_USER, Tenant, tenant
from tests.support import Kube


@pytest.fixture
def pod_user(kube: Kube, namespace: str) -> Tenant:
    """Somebody with all rights on Pods in the namespace, and none on Sandboxes."""
    return tenant(kube, namespace, f"pods-{namespace}", POD_USER)
